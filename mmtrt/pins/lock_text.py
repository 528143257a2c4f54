"""The text of a lock file: entries sorted, one fact a line, nothing said twice of one recipe.

YAML, as the recipes are: the library that reads them is there, one that writes TOML is not. Rows of
files are flow mappings, so that a file is a line. Where a recipe has several entries, they stand as
``cases`` below what they have in common.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from mmtrt.config import typed
from mmtrt.pins.cases import TABLES
from mmtrt.pins.entry import Entry

SCHEMA = 2
"""Raised when an older mmtrt could misread a lock."""

OLDEST = 1
"""Schema that is still read: one entry a recipe, made for the words of one choice."""

CASES = "cases"

HEAD = (
    "# Written by `mmtrt lock`. Change it with `mmtrt lock`, and keep it under version control.\n"
)

FIELDS = tuple(f.name for f in dataclasses.fields(Entry))


def lock_text(entries: Mapping[str, Sequence[Entry]]) -> str:
    """Return the text of a lock file with these entries by ``recipe/variant``."""
    blocks = [_dumped({name: _block(entries[name])}) for name in sorted(entries) if entries[name]]
    head = f"{HEAD}schema: {SCHEMA}\nentries:"
    rows = "\n".join(
        "".join(f"  {line}\n" for line in block.rstrip("\n").split("\n")) for block in blocks
    )
    return f"{head}\n{rows}" if blocks else f"{head} {{}}\n"


def entries_from(data: Any) -> tuple[dict[str, tuple[Entry, ...]], list[str]]:
    """Return the entries of what YAML made of a file, and what is wrong with it in words."""
    if not isinstance(data, dict) or not isinstance(data.get("entries"), dict):
        return {}, ["it has no entries"]
    wrong = [f"{key} is unknown" for key in data if key not in ("schema", "entries")]
    found: dict[str, tuple[Entry, ...]] = {}
    for name, block in data["entries"].items():
        entries = []
        for path, plain in _unfolded(("entries", str(name)), block, data["schema"]):
            entry, problems = typed.read(Entry, plain, path)
            wrong += [f"{_place(each.path, block)} {each.message}".strip() for each in problems]
            if entry is not None:
                wrong += _unreadable(entry, path)
                entries.append(entry)
        found[str(name)] = tuple(entries)
    return found, list(dict.fromkeys(wrong))


def _place(path: typed.KeyPath, block: Any) -> str:
    """Return where a value stands that every case may have from what they have in common."""
    inner = path[4:]
    if path[2:3] == (CASES,) and inner and isinstance(block, dict):
        common: Any = block
        case: Any = block[CASES][path[3]]
        for key in inner[:2]:
            common = common.get(key) if isinstance(common, dict) else None
            case = case.get(key) if isinstance(case, dict) else None
        if common is not None and case is None:
            return typed.dotted((*path[:2], *inner))
    return typed.dotted(path)


def _unfolded(path: typed.KeyPath, block: Any, schema: int) -> list[tuple[typed.KeyPath, Any]]:
    """Return each entry below a name as plain data, with its place."""
    if not isinstance(block, dict):
        return [(path, block)]
    if schema == OLDEST:
        words = block.get("overrides", [])
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            return [(path, block)]
        return [(path, block | {"overrides": [shlex.join(words)]})]
    if CASES not in block:
        return [(path, block)]
    common = {key: value for key, value in block.items() if key != CASES}
    cases = block[CASES]
    if not isinstance(cases, list) or not all(isinstance(case, dict) for case in cases):
        return [((*path, CASES), cases)]
    return [((*path, CASES, i), _merged(common, case)) for i, case in enumerate(cases)]


def _merged(common: Mapping[str, Any], case: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**common, **case}
    for name in TABLES:
        both = common.get(name), case.get(name)
        if isinstance(both[0], dict) and isinstance(both[1], dict):
            merged[name] = both[0] | both[1]
    return merged


def _unreadable(entry: Entry, path: typed.KeyPath) -> list[str]:
    try:
        entry.choices()
    except ValueError as error:
        return [f"{typed.dotted(path)}.overrides is no command line: {error}"]
    return []


def _block(entries: Sequence[Entry]) -> dict[str, Any]:
    """Return what stands below a name."""
    plain = [entry.to_plain() for entry in entries]
    if len(plain) == 1:
        return _ordered(plain[0])
    common = _common(plain)
    cases = [_without(each, common) for each in plain]
    return {**_ordered(common), CASES: [_ordered(each) for each in cases]}


def _common(plain: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what all of them say; of tables, the rows that all have."""
    first, *others = plain
    found: dict[str, Any] = {}
    for name, value in first.items():
        if name == "overrides":
            continue
        if name in TABLES:
            rows = {
                key: row
                for key, row in value.items()
                if all(key in each.get(name, {}) and each[name][key] == row for each in others)
            }
            found |= {name: rows} if rows else {}
        elif all(each.get(name) == value for each in others):
            found[name] = value
    return found


def _without(plain: Mapping[str, Any], common: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is said beside that."""
    rest: dict[str, Any] = {}
    for name, value in plain.items():
        if name in TABLES:
            rows = {k: row for k, row in value.items() if k not in common.get(name, {})}
            rest |= {name: rows} if rows else {}
        elif name not in common:
            rest[name] = value
    return rest


def _ordered(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields as they are declared, and everything inside of them sorted."""
    return {name: _sorted(plain[name]) for name in FIELDS if name in plain}


class _Row(dict[str, Any]):
    """A mapping that stays on one line."""


def _sorted(value: Any, is_row: bool = False) -> Any:
    if isinstance(value, dict):
        plain = {name: _sorted(each) for name, each in sorted(value.items())}
        return _Row(plain) if is_row else plain
    if isinstance(value, list):
        return [_sorted(each, is_row=True) for each in value]
    return value


def _dumped(block: dict[str, Any]) -> str:
    import yaml

    class Dumper(yaml.SafeDumper):
        """Lists are indented below their key, which keeps diffs small and merges possible."""

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
            super().increase_indent(flow, False)

        def ignore_aliases(self, data: Any) -> bool:
            """Say what is equal again, instead of by a name that nobody can read."""
            return True

    Dumper.add_representer(
        _Row,
        lambda dumper, row: dumper.represent_mapping("tag:yaml.org,2002:map", row, flow_style=True),
    )
    return yaml.dump(
        block,
        Dumper=Dumper,
        sort_keys=False,
        default_flow_style=False,
        allow_unicode=False,  # with it, U+0085 does not come back
        width=1 << 30,
    )
