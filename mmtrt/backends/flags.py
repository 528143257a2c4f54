"""Which flags and values TensorRT-LLM's tools accept, by version; checked before anything runs."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

TABLES = Path(__file__).parent / "flag_tables"

Table = dict[str, dict[str, Any]]


@lru_cache(maxsize=4)
def _tables(version: str) -> dict[str, Table] | None:
    """Return the tables of a ``major.minor``, or ``None`` if that version was not transcribed."""
    path = TABLES / f"{version}.json"
    if not path.exists():
        return None
    document: dict[str, dict[str, Table]] = json.loads(path.read_text(encoding="utf-8"))
    return document["commands"]


def known_versions() -> list[str]:
    """Return the TensorRT-LLM versions that have tables."""
    return sorted(path.stem for path in TABLES.glob("*.json"))


def problems(argv: Sequence[str], version: str) -> Iterator[str]:
    """Yield what a tool would refuse in a command, in words.

    Args:
        argv: a whole command; the tool is found in it by its script's path or its name.
        version: of TensorRT-LLM, such as ``1.2.1``.
    """
    tables = _tables(".".join(version.split(".")[:2]))
    if tables is None:
        return
    found = _tool(argv, tables)
    if found is None:
        return
    tool, words = found
    table = tables[tool]
    name = tool.rsplit("/", 1)[-1]
    seen = set()
    for flag, values in _flags(words):
        if flag not in table:
            near = difflib.get_close_matches(flag, table, 1, 0.6)
            yield f"{name} has no flag {flag}" + (f"; the nearest is {near[0]}" if near else "")
            continue
        seen.add(flag)
        yield from _misfits(name, flag, values, table[flag])
    for flag, entry in table.items():
        if entry.get("required") and flag not in seen:
            yield f"{name} needs {flag}"


def _tool(argv: Sequence[str], tables: dict[str, Table]) -> tuple[str, Sequence[str]] | None:
    for index, word in enumerate(argv):
        for tool in tables:
            if word == tool or word.endswith(f"/{tool}"):
                return tool, argv[index + 1 :]
    return None


def _flags(words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each flag with its values; ``--flag=value`` counts as both."""
    flag: str | None = None
    values: list[str] = []
    for word in words:
        if word.startswith("--"):
            if flag is not None:
                yield flag, values
            flag, equals, value = word.partition("=")
            values = [value] if equals else []
        elif flag is not None:
            values.append(word)
    if flag is not None:
        yield flag, values


def _misfits(name: str, flag: str, values: list[str], entry: dict[str, Any]) -> Iterator[str]:
    action, nargs = entry.get("action"), entry.get("nargs")
    if action in ("store_true", "store_false"):
        if values:
            yield f"{name} {flag} takes no value, not {values[0]!r}"
        return
    if not values and nargs not in ("*", "?"):
        yield f"{name} {flag} needs a value"
    most = int(nargs) if nargs is not None and str(nargs).isdigit() else 1
    if len(values) > most and nargs not in ("*", "+"):
        yield f"{name} {flag} takes {most} value{'s' * (most > 1)}, not {len(values)}"
    for value in values:
        if choices := entry.get("choices"):
            if value not in choices:
                yield f"{name} {flag} must be one of {', '.join(choices)}, not {value}"
        elif entry.get("type") in ("int", "float"):
            try:
                {"int": int, "float": float}[entry["type"]](value)
            except ValueError:
                yield f"{name} {flag} must be a number, not {value}"
