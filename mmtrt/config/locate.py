"""Where in which YAML file, or by which override, a value was written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import yaml

from mmtrt.config import typed
from mmtrt.config.root import SetBy, Source
from mmtrt.config.yaml_file import Document, find, read
from mmtrt.errors import RecipeError


class Places:
    """Finds the place where a value of a composition was written."""

    def __init__(
        self,
        sources: Iterable[Source],
        set_by: Iterable[SetBy],
        documents: dict[Path, Document | None] | None = None,
    ) -> None:
        """Remember what took part.

        Args:
            sources: files in the order of merging.
            set_by: what overrides set, in order.
            documents: files that were read before; those read from now on are added.
        """
        self._sources = list(sources)
        self._set_by = list(set_by)
        self._documents = {} if documents is None else documents

    def where(self, path: typed.KeyPath) -> str:
        """Return ``file:line:column`` of the value, or ``override 'key=value'``."""
        text = self.override(path)
        if text is not None:
            return f"override {text!r}"
        found = self.node(path)
        return found[0].at(found[2]) if found else typed.dotted(path)

    def override(self, path: typed.KeyPath) -> str | None:
        """Return the override that set this value."""
        wanted = tuple(str(part) for part in path)
        for setter, is_whole, text in reversed(self._set_by):
            head = tuple(str(part) for part in setter)
            if head == wanted or (is_whole and wanted[: len(head)] == head):
                return text
        return None

    def node(
        self, path: typed.KeyPath
    ) -> tuple[Document, yaml.Node | None, yaml.Node | None, bool] | None:
        """Return file, key, value and whether it is there; else its nearest ancestor's."""
        best: tuple[int, Document, yaml.Node | None, yaml.Node | None] | None = None
        for source in reversed(self._sources):
            package = tuple(source.package.split(".")) if source.package else ()
            shared = tuple(str(part) for part in path[: len(package)])
            if shared != package[: len(shared)]:
                continue
            document = self._document(source.path)
            if document is None:
                continue
            inside = path[len(package) :]
            try:
                key, value = find(document.root, inside)
                if len(path) >= len(package):
                    return document, key, value, True
                depth = len(path)
            except KeyError as err:
                known = int(err.args[0])
                depth = len(package) + known
                try:
                    key, value = find(document.root, inside[:known])
                except KeyError:
                    key = value = None
            if best is None or depth > best[0]:
                best = (depth, document, key, value)
        return (*best[1:], False) if best else None

    def _document(self, path: Path) -> Document | None:
        if path not in self._documents:
            try:
                self._documents[path] = read(path)
            except RecipeError:  # it was readable a moment ago; no place is better than none
                self._documents[path] = None
        return self._documents[path]
