"""Where in which YAML file a key stands, how it was written there, and what to say about it.

Imported only when something is wrong, when somebody asks for a place, and by the catalogue: PyYAML
is not needed for a cached composition.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from mmtrt.config import overrides as keys
from mmtrt.config import typed
from mmtrt.config.root import Source, display
from mmtrt.errors import RecipeError

MAX_DEPTH = 400
"""*Chosen*: PyYAML's C composer bears some 20,000 levels, OmegaConf about 100; a recipe needs 8.
Files with fewer brackets, dashes and colons than this are not looked at twice."""


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

    def package(self) -> str | None:
        """Return what the ``# @package`` line says, if there is one."""
        for line in self.text[:512].splitlines():
            if found := re.match(r"\s*#\s*@package\s+(\S+)", line):
                return found[1]
            if line.strip() and not line.lstrip().startswith("#"):
                break
        return None


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
    if is_strict:
        _refuse_duplicates(document)
    return document


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


def listed(words: str, names: Sequence[str]) -> str | None:
    """Return a sentence that ends in a list of names, ``None`` for no names."""
    return f"{words} {', '.join(names)}" if names else None


# Where a key stands


class Places:
    """Finds the place where a value of a composition was written."""

    def __init__(
        self,
        sources: Iterable[Source],
        set_by: Iterable[tuple[typed.KeyPath, bool, str]],
        documents: dict[Path, Document | None] | None = None,
    ) -> None:
        """Remember what took part.

        Args:
            sources: files in the order of merging.
            set_by: (key path, whether everything below it too, override), in order.
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


# What to say


def explain(problem: typed.Problem, places: Places) -> RecipeError:
    """Return the message for one value that does not fit the schema."""
    return _EXPLAIN[problem.kind](problem, places)


def _explain_type(problem: typed.Problem, places: Places) -> RecipeError:
    name = str(problem.path[-1]) if problem.path else ""
    message = problem.message.split("; quote it")[0]
    error = RecipeError(f"{typed.dotted(problem.path)} {message}", code="CFG101")
    text = places.override(problem.path)
    raw, write = "", ""
    if text is not None:
        error.at = f"override {text!r}"
        # Only a value that stands alone can be rewritten without the grammar of overrides.
        is_alone = keys.key_of(text) == ".".join(str(p) for p in problem.path)
        raw = keys.value_of(text).strip() if is_alone else ""
        write = f"{keys.key_of(text)}={{}}"
    elif found := places.node(problem.path):
        document, key, value, is_there = found
        is_name = problem.wanted == "a quoted name"
        error.at = document.at(key if is_name and key is not None else value)
        if is_there and isinstance(value, yaml.ScalarNode) and "\n" not in document.raw(value):
            raw = document.raw(value)
            write = "- {}" if isinstance(problem.path[-1], int) else f"{name}: {{}}"
        if is_name and key is not None:
            raw, write = document.raw(key), "{}:"
    if raw and "${" not in raw:
        mended = _mended(problem, raw)
        if problem.wanted in ("text", "a quoted name") and _is_bare(raw):
            error.why = f"without quotes {raw} is read as {_seen(problem)}"
        elif problem.wanted != "text" and mended and not _is_bare(raw):
            error.why = "quotes make it text"
        if mended:
            error.fix = _fixed(write.format(mended), is_override=text is not None)
    if error.fix is None:
        error.fix = _general_fix(problem, text)
    return error


def _explain_range(problem: typed.Problem, places: Places) -> RecipeError:
    name, (value,) = typed.dotted(problem.path), problem.choices
    text, last = places.override(problem.path), problem.path[-1]
    error = RecipeError(f"{name} {problem.message}", code="CFG112", at=places.where(problem.path))
    if text is None:
        error.fix = f"write {value}" if isinstance(last, int) else f"write {last}: {value}"
    elif keys.key_of(text) == ".".join(str(part) for part in problem.path):
        error.fix = keys.shell(f"{keys.key_of(text)}={value}")
    else:
        error.fix = f"write {value} for {name}"
    return error


def _seen(problem: typed.Problem) -> str:
    return problem.message.split(", not ", 1)[-1].split("; quote it")[0]


def _is_bare(raw: str) -> bool:
    return raw[:1] not in ("'", '"')


def _mended(problem: typed.Problem, raw: str) -> str | None:
    """Return the value as it has to be written, if that can be told."""
    bare = raw.strip("'\"")
    wanted, seen = problem.wanted, problem.seen
    if wanted in ("text", "a quoted name"):
        is_mangled = isinstance(seen, (bool, int, float)) and _is_bare(raw)
        return f'"{raw}"' if is_mangled and '"' not in raw and "\\" not in raw else None
    if wanted == "true or false":
        yes_or_no = {"yes": "true", "on": "true", "no": "false", "off": "false"}
        yes_or_no |= {"true": "true", "false": "false", "1": "true", "0": "false"}
        return yes_or_no.get(bare.lower())
    if wanted == "a whole number" and re.fullmatch(r"[-+]?\d{1,18}", bare):
        return bare
    if wanted == "a whole number" and isinstance(seen, float) and seen.is_integer():
        return str(int(seen)) if abs(seen) < 1e18 else None
    if wanted == "a number" and re.fullmatch(r"[-+]?\d+(\.\d*)?", bare):
        return bare
    if wanted == "a list" and raw[:1] not in "[{" and seen is not None:
        return f"[{','.join([raw] * keys.length_of(problem.path))}]"
    return None


def _fixed(text: str, *, is_override: bool) -> str:
    return keys.shell(text) if is_override else f"write {text}"


def _general_fix(problem: typed.Problem, override: str | None) -> str:
    name = typed.dotted(problem.path)
    if problem.wanted == "a mapping":
        return "indent its keys below it" if override is None else f"set the keys below {name}"
    example = {
        "a list": "[...]",
        "text": '"..."',
        "a whole number": "1",
        "a number": "0.5",
        "a finite number": "0.5",
        "true or false": "true",
    }.get(problem.wanted, "...")
    if override is not None:
        return f"give {problem.wanted or 'another value'}, such as {name}={example}"
    return f"write {problem.path[-1] if problem.path else name}: {example}"


def _explain_unknown(problem: typed.Problem, places: Places) -> RecipeError:
    parent = typed.dotted(problem.path[:-1])
    near = keys.nearest(str(problem.path[-1]), problem.choices, 1)
    error = RecipeError(
        f"there is no key {typed.dotted(problem.path)!r}",
        code="CFG102",
        why=listed(f"the keys of {parent} are" if parent else "the keys are", problem.choices),
        fix=f"write {near[0]}" if near else "remove it",
    )
    text = places.override(problem.path)
    if text is not None:
        error.at = f"override {text!r}"
    elif found := places.node(problem.path):
        document, key, value, _ = found
        error.at = document.at(key if key is not None else value)
    return error


def _explain_missing(problem: typed.Problem, places: Places) -> RecipeError:
    name = problem.path[-1]
    error = RecipeError(
        f"{typed.dotted(problem.path)} must be said",
        code="CFG103",
        at=places.where(problem.path),
    )
    kind = keys.kind_of(problem.path)
    text = places.override(problem.path)
    if text is not None:
        error.fix = f"give {typed.dotted(problem.path)} a value"
    else:
        error.fix = f"add {name}:" + (f" <{kind}>" if kind else "")
    return error


def _explain_choice(problem: typed.Problem, places: Places) -> RecipeError:
    text = places.override(problem.path)
    name = typed.dotted(problem.path)
    raw = "null" if problem.seen is None else str(problem.seen)
    why = None
    found = None if text is not None else places.node(problem.path)
    if found and found[3] and isinstance(found[2], yaml.ScalarNode):
        raw = found[0].raw(found[2])
        if isinstance(problem.seen, (bool, int, float)) and _is_bare(raw):
            why = f"without quotes {raw} is read as {typed.described(problem.seen)}"
    near = keys.nearest(raw, problem.choices, 1, cutoff=0.4)
    fix = "use one of these"
    if near and text is not None:
        is_alone = keys.key_of(text) == ".".join(str(p) for p in problem.path)
        fix = f"{keys.key_of(text)}={near[0]}" if is_alone else f"write {near[0]}"
    elif near:
        is_item = isinstance(problem.path[-1], int)
        fix = f"write {near[0]}" if is_item else f"write {problem.path[-1]}: {near[0]}"
    return RecipeError(
        f"{name} {problem.message}, not {raw}",
        code="CFG104",
        at=places.where(problem.path),
        why=why,
        fix=fix,
    )


_EXPLAIN: dict[str, Callable[[typed.Problem, Places], RecipeError]] = {
    "type": _explain_type,
    "unknown": _explain_unknown,
    "missing": _explain_missing,
    "choice": _explain_choice,
    "range": _explain_range,
}
