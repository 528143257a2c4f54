"""Where in which YAML file, or by which override, a value was written."""

from __future__ import annotations

from collections.abc import Iterable

import yaml

from mmtrt.config import typed
from mmtrt.config.root import SetBy, Source
from mmtrt.config.yaml_file import Document, Files, find
from mmtrt.errors import RecipeError


class Places:
    """Finds the place where a value of a composition was written."""

    def __init__(
        self, sources: Iterable[Source], set_by: Iterable[SetBy], files: Files | None = None
    ) -> None:
        """Remember what took part.

        Args:
            sources: files in the order of merging.
            set_by: what overrides set, in order.
            files: those that were read before.
        """
        self.sources = tuple(sources)
        self._set_by = tuple(set_by)
        self._files = files or Files()

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
        for source in reversed(self.sources):
            package = tuple(source.package.split(".")) if source.package else ()
            shared = tuple(str(part) for part in path[: len(package)])
            if shared != package[: len(shared)]:
                continue
            try:
                document = self._files.read(source.path)
            except RecipeError:  # it was readable a moment ago; no place is better than none
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
