"""A YAML file as nodes that know their places.

Scalars are read as OmegaConf reads them, mappings are merged as it merges them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml

from mmtrt.config.root import display
from mmtrt.errors import RecipeError

MAX_DEPTH = 400
"""*Chosen*: PyYAML's C composer bears some 20,000 levels, OmegaConf about 100; a recipe needs 8.
Files with fewer brackets, dashes and colons than this are not looked at twice."""
MAX_NODES = 100_000
"""*Chosen*: values of one file with every alias written out; the largest recipe has 900."""


@cache
def loader() -> Any:
    """Return a YAML loader that reads scalars as OmegaConf does, in C where PyYAML has it.

    Source: omegaconf 2.3.1 and 2.4.1 ``_utils.get_yaml_loader``: floats need no dot before an
    exponent, and time stamps stay text.
    """
    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]  # the base is chosen at run time
        """Reads scalars as OmegaConf does."""

    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(
            r"""^(?:
             [-+]?[0-9]+(?:_[0-9]+)*\.[0-9_]*(?:[eE][-+]?[0-9]+)?
            |[-+]?[0-9]+(?:_[0-9]+)*(?:[eE][-+]?[0-9]+)
            |\.[0-9]+(?:_[0-9]+)*(?:[eE][-+][0-9]+)?
            |[-+]?[0-9]+(?:_[0-9]+)*(?::[0-5]?[0-9])+\.[0-9_]*
            |[-+]?\.(?:inf|Inf|INF)
            |\.(?:nan|NaN|NAN))$""",
            re.VERBOSE,
        ),
        list("-+0123456789."),
    )
    Loader.yaml_implicit_resolvers = {
        first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
        for first, pairs in Loader.yaml_implicit_resolvers.items()
    }
    return Loader


@dataclass(frozen=True)
class Document:
    """One YAML file as nodes that know their places."""

    path: Path
    text: str
    root: yaml.Node | None
    """``None`` where the file is empty."""

    def at(self, node: yaml.Node | None) -> str:
        """Return ``file:line:column`` of a node."""
        if node is None:
            return display(self.path)
        return f"{display(self.path)}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"

    def raw(self, node: yaml.Node) -> str:
        """Return a node as it was written."""
        return self.text[node.start_mark.index : node.end_mark.index].strip()

    @cached_property
    def data(self) -> Any:
        """The values.

        Raises:
            RecipeError: CFG105, for a key or value that no tag of YAML fits.
        """
        try:
            return None if self.root is None else loader()("").construct_document(self.root)
        except (yaml.YAMLError, ValueError, OverflowError) as err:
            raise _syntax_error(self.path, self.text, err) from err

    def package(self) -> str | None:
        """Return what the ``# @package`` line says, if there is one."""
        for line in self.text[:512].splitlines():
            if found := re.match(r"\s*#\s*@package\s+(\S+)", line):
                return found[1]
            if line.strip() and not line.lstrip().startswith("#"):
                break
        return None


class Files:
    """YAML files, each read once."""

    def __init__(self) -> None:
        """Start with none."""
        self._known: dict[Path, Document | RecipeError] = {}

    def read(self, path: Path) -> Document:
        """Return a file.

        Raises:
            RecipeError: CFG105, as :func:`read` does, each time the same.
        """
        if path not in self._known:
            try:
                self._known[path] = read(path)
            except RecipeError as error:
                self._known[path] = error
        found = self._known[path]
        if isinstance(found, RecipeError):
            raise found
        return found


def merged(before: Mapping[Any, Any], new: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return two mappings as one, of two values the later; ``???`` leaves what is there.

    Raises:
        ValueError: where a mapping or list meets a reference, which only OmegaConf can follow.
    """
    result = dict(before)
    for key, value in new.items():
        known = result.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            result[key] = merged(known, value)
        elif isinstance(known, str) and "${" in known and isinstance(value, (dict, list)):
            raise ValueError(key)
        elif value != "???" or key not in result:
            result[key] = value
    return result


def read(path: Path, *, is_strict: bool = True) -> Document:
    """Read a YAML file; unless ``is_strict``, a key may stand twice, which saves a third.

    Raises:
        RecipeError: CFG105, if it cannot be read, is no UTF-8 or no YAML, or says a key twice.
    """
    try:
        content = path.read_bytes()
    except OSError as err:
        raise RecipeError(
            f"{display(path)} cannot be read",
            code="CFG105",
            at=display(path),
            why=str(err.strerror or err),
            fix="give this user the right to read it",
        ) from err
    try:
        # Universal newlines, as Hydra reads: a lone \r would otherwise end no line here.
        text = content.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as err:
        before = content[: err.start].decode("utf-8")
        raise RecipeError(
            f"{display(path)} is not UTF-8",
            code="CFG105",
            at=_at_offset(path, before, len(before)),
            why=f"byte 0x{content[err.start]:02x} starts no character",
            fix="save the file as UTF-8",
        ) from err
    document = Document(path, text, _compose(path, text))
    if "*" in text and _nodes(document.root, {}) > MAX_NODES:
        raise RecipeError(
            f"{display(path)} is too large",
            code="CFG105",
            at=display(path),
            why=f"with its aliases written out it has more than {MAX_NODES:,} values",
            fix="refer with *name to single values, not to lists of further references",
        )
    if is_strict:
        _refuse_duplicates(document)
    return document


def _nodes(node: yaml.Node | None, known: dict[int, int]) -> int:
    """Return how many nodes there are below one, those behind an alias each time anew."""
    if not isinstance(node, (yaml.MappingNode, yaml.SequenceNode)):
        return 1
    if id(node) not in known:
        known[id(node)] = 0  # an alias of what it stands in
        inner = node.value
        if isinstance(node, yaml.MappingNode):
            inner = [each for pair in node.value for each in pair]
        known[id(node)] = 1 + sum(_nodes(each, known) for each in inner)
    return known[id(node)]


def _compose(path: Path, text: str) -> yaml.Node | None:
    try:
        _refuse_depth(path, text)
        root: yaml.Node | None = yaml.compose(text, Loader=loader())
    except (yaml.YAMLError, RecursionError, ValueError) as err:
        try:
            # What OmegaConf uses; the two differ in a few corners.
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except (yaml.YAMLError, RecursionError, ValueError):
            raise _syntax_error(path, text, err) from err
    return root


def _refuse_depth(path: Path, text: str) -> None:
    """Refuse what would overflow the stack of PyYAML's composer in C, which ends the process."""
    if sum(text.count(opener) for opener in "[{-?:") < MAX_DEPTH:
        return  # each level needs one of them
    depth = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            mark = event.start_mark
            at = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
            raise RecipeError(
                f"{display(path)} nests too deeply",
                code="CFG105",
                at=f"{display(path)}{at}",
                why=f"lists and mappings may be {MAX_DEPTH} deep",
                fix="close what is open, or indent less",
            )


def _syntax_error(path: Path, text: str, err: Exception) -> RecipeError:
    at, why = display(path), str(err).splitlines()[0] if str(err) else type(err).__name__
    fix = "look at this line and the one above it"
    if isinstance(err, yaml.MarkedYAMLError) and (mark := err.problem_mark or err.context_mark):
        why = ": ".join(part for part in (err.context, err.problem) if part)
        if err.context_mark and re.search("flow|quoted", err.context or ""):
            # What is not closed matters, not the place far below where that shows.
            why += f" up to line {mark.line + 1}"
            fix = "close what opens here"
            mark = err.context_mark
        at = f"{display(path)}:{mark.line + 1}:{mark.column + 1}"
        lines = text.split("\n")
        line = lines[mark.line] if mark.line < len(lines) else ""
        if "\t" in line[: mark.column + 1]:
            why = "a tab indents or separates here; YAML takes spaces only"
            fix = "replace the tab by spaces"
        elif "mapping values are not allowed" in why:
            fix = "put quotes around text that holds a colon, and indent equal keys equally"
        elif "alias" in why or "anchor" in why:
            fix = "put quotes around text that starts with * or &"
        elif "cannot start any token" in why:
            fix = f"put quotes around text that starts with {line[mark.column : mark.column + 1]}"
    elif isinstance(err, yaml.reader.ReaderError):
        position = int(err.position)
        at = _at_offset(path, text, position)
        code = err.character if isinstance(err.character, int) else ord(str(err.character)[:1])
        why = f"character U+{code:04X} is not allowed"
        fix = "remove it, or write it as an escape inside double quotes"
    elif isinstance(err, RecursionError):
        why = "lists or mappings are nested too deeply"
    return RecipeError(f"{display(path)} is not valid YAML", code="CFG105", at=at, why=why, fix=fix)


def _at_offset(path: Path, text: str, offset: int) -> str:
    before = text[:offset]
    line = before.count("\n")
    return f"{display(path)}:{line + 1}:{len(before) - (before.rfind(chr(10)) + 1) + 1}"


def _refuse_duplicates(document: Document) -> None:
    seen: set[int] = set()
    pending = [document.root]
    while pending:
        node = pending.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            pending += node.value
        elif isinstance(node, yaml.MappingNode):
            first: dict[tuple[str, str], yaml.Node] = {}
            for key, value in node.value:
                pending += (key, value)
                if not isinstance(key, yaml.ScalarNode) or _is_merge(key):
                    continue
                name = (key.tag, key.value)
                if name in first:
                    raise RecipeError(
                        f"the key {key.value!r} stands twice",
                        code="CFG105",
                        at=document.at(key),
                        why=f"it stands at line {first[name].start_mark.line + 1} too",
                        fix="remove one of them",
                    )
                first[name] = key


def _is_merge(key: yaml.Node) -> bool:
    return isinstance(key, yaml.ScalarNode) and key.value == "<<" and not key.style


def find(node: yaml.Node | None, path: Sequence[str | int]) -> tuple[yaml.Node | None, yaml.Node]:
    """Return the key node (``None`` for the root and for list items) and the value node.

    Raises:
        KeyError: if the path leads nowhere; its argument is how many parts were found.
    """
    key: yaml.Node | None = None
    for depth, part in enumerate(path):
        step = _child(node, part)
        if step is None:
            raise KeyError(depth)
        key, node = step
    if node is None:
        raise KeyError(0)
    return key, node


def _child(
    node: yaml.Node | None, part: str | int, hops: int = 20
) -> tuple[yaml.Node | None, yaml.Node] | None:
    if isinstance(node, yaml.SequenceNode):
        index = int(part) if isinstance(part, int) or part.isdecimal() else -1
        return (None, node.value[index]) if 0 <= index < len(node.value) else None
    if not isinstance(node, yaml.MappingNode) or not hops:
        return None
    merged: list[yaml.Node] = []
    for key, value in node.value:
        if _is_merge(key):
            merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
        elif isinstance(key, yaml.ScalarNode) and (key.value == part or spoken(key) == part):
            return key, value
    for each in merged:
        if (found := _child(each, part, hops - 1)) is not None:
            return found
    return None


def spoken(node: yaml.Node) -> str:
    """Return a scalar as the program sees it: ``True`` for ``on``."""
    try:
        return str(loader()("").construct_object(node))
    except (yaml.YAMLError, ValueError, OverflowError):
        return str(node.value)


def names_below(node: yaml.Node | None) -> list[str]:
    """Return the keys of a mapping, in their order."""
    if not isinstance(node, yaml.MappingNode):
        return []
    return [str(key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
