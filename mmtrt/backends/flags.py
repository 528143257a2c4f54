"""Which flags and values TensorRT-LLM's tools accept, by version; checked before anything runs.

``flag_tables/<major.minor>.json`` holds names and values transcribed from the tools' own parsers;
its ``source`` says what was read and what is assumed. The newest table is whole, an older one names
the table it is ``based_on`` and what differs. ``flag_tables/renamed.json`` tells what became of
flags that no table has any more.
"""

from __future__ import annotations

import difflib
import json
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

TABLES = Path(__file__).parent / "flag_tables"

# One flag: type (int, float), choices, nargs, action, aliases, default, required, multiple,
# positional; what a parser leaves out is left out. Bounds (gt, ge, lt, le) are what the tool itself
# or the runtime behind it asserts.
Entry = dict[str, Any]
Table = dict[str, Entry]

# Made with click, the others with argparse: no abbreviations, and a word may stand anywhere.
CLICK = ("trtllm-serve",)
# Subcommands that have no table; ``serve``, the one that has, may be written or left out.
OTHER_SUBCOMMANDS = ("disaggregated", "disaggregated_mpi_worker", "mm_embedding_serve")
LAUNCHERS = ("mpirun", "mpiexec", "srun", "env", "trtllm-llmapi-launch")
PYTHON = re.compile(r"\{?python[\d.]*\}?")
BOUNDS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "gt": ("above", operator.gt),
    "ge": ("at least", operator.ge),
    "lt": ("below", operator.lt),
    "le": ("at most", operator.le),
}
NEGATIVE = re.compile(r"-\d+|-\d*\.\d+")


@dataclass
class _Given:
    """A flag of a command: as it is written, as its table names it, and what follows it."""

    spelling: str
    flag: str | None
    values: list[str] = field(default_factory=list)
    joined: bool = False
    likely: tuple[str, ...] = ()


def known_versions() -> list[str]:
    """Return the TensorRT-LLM versions that have tables, oldest first."""
    found = (path.stem for path in TABLES.glob("[0-9]*.json"))
    return sorted(found, key=lambda minor: [int(part) for part in minor.split(".")])


def is_known(version: str) -> bool:
    """Tell whether a version, such as ``1.2.1`` or ``1.2.0rc2``, has a table."""
    return _tables(_minor(version)) is not None


def tool_of(argv: Sequence[str], version: str) -> str | None:
    """Return the tool that a command starts, as the tables name it, or ``None``."""
    found = _find(argv, _tables(_minor(version)) or {})
    return found[0] if found else None


def defaults(tool: str, version: str) -> dict[str, Any]:
    """Return the values that a tool takes for flags that are not given; unset ones are absent."""
    table = (_tables(_minor(version)) or {}).get(tool, {})
    return {flag: entry["default"] for flag, entry in table.items() if "default" in entry}


def parse(argv: Sequence[str], version: str) -> dict[str, list[str]]:
    """Return each flag of a command with its values.

    An alias or abbreviation is returned as the flag's first name, a positional argument under its
    own (``MODEL``), a switch with no values, an unknown flag as it is written. Of a flag that is
    given twice the last one counts, as it does for the tools.

    Raises:
        ValueError: if the command starts no tool that this version has a table of.
    """
    found = _find(argv, tables := _tables(_minor(version)) or {})
    if found is None:
        raise ValueError(f"not a tool of TensorRT-LLM {version} with a flag table: {list(argv)}")
    tool, words = found
    table = tables[tool]
    given, loose = _read(tool, words, table)
    made = {name: [word] for name, word in zip(_positional(table), loose)}
    for each in given:
        flag = each.flag or each.spelling
        before = made.get(flag, []) if table.get(flag, {}).get("multiple") else []
        made[flag] = before + each.values
    return made


def problems(argv: Sequence[str], version: str) -> Iterator[str]:
    """Yield what a tool would refuse in a command, in words.

    Args:
        argv: a whole command; the tool is found in it by its script's path or its name.
        version: of TensorRT-LLM, such as ``1.2.1``; nothing is refused for one without a table.
    """
    minor = _minor(version)
    found = _find(argv, tables := _tables(minor) or {})
    if found is None:
        return
    tool, words = found
    table = tables[tool]
    name = tool.rsplit("/", 1)[-1]
    given, loose = _read(tool, words, table)
    for each in given:
        if each.flag is not None:
            yield from _misfits(name, each, table[each.flag])
        elif each.likely:
            yield f"{name} cannot tell {each.spelling}: {' or '.join(each.likely)}"
        else:
            told = _told(tool, each.spelling, minor, table)
            yield f"{name} has no flag {each.spelling}" + (f"; {told}" if told else "")
    yield from _contradictions(name, given)
    wanted = _positional(table)
    for word in loose[len(wanted) :]:
        room = f"one {wanted[0]} and no other word" if wanted else "no word without a flag"
        yield f"{name} takes {room}, not {word!r}"
    seen = {each.flag for each in given} | set(wanted[: len(loose)])
    for flag, entry in table.items():
        if entry.get("required") and flag not in seen:
            yield f"{name} needs {flag}"


def _minor(version: str) -> str:
    return found[0] if (found := re.match(r"\d+\.\d+", version)) else version


@lru_cache(maxsize=8)
def _tables(minor: str) -> dict[str, Table] | None:
    """Return the tables of a ``major.minor``, or ``None`` if that version was not transcribed."""
    if minor not in known_versions():
        return None
    document = json.loads((TABLES / f"{minor}.json").read_text(encoding="utf-8"))
    if "based_on" not in document:
        whole: dict[str, Table] = document["commands"]
        return whole
    made = dict(_tables(document["based_on"]) or {})
    for tool in {*document["removed"], *document["added"], *document["changed"]}:
        removed = document["removed"].get(tool, ())
        table = {flag: entry for flag, entry in made[tool].items() if flag not in removed}
        table |= document["added"].get(tool, {})
        for flag, change in document["changed"].get(tool, {}).items():
            table[flag] = table[flag] | change
        made[tool] = table
    return made


@lru_cache(maxsize=1)
def _renamed() -> dict[str, dict[str, dict[str, str]]]:
    document = json.loads((TABLES / "renamed.json").read_text(encoding="utf-8"))
    flags: dict[str, dict[str, dict[str, str]]] = document["flags"]
    return flags


def _find(argv: Sequence[str], tables: dict[str, Table]) -> tuple[str, Sequence[str]] | None:
    """Return the tool of a command and the words for it; launchers are looked through."""
    if not argv or not tables:
        return None
    program = argv[0].rsplit("/", 1)[-1]
    last = len(argv) if program in LAUNCHERS else 1
    if PYTHON.fullmatch(program):
        last = 1 + next((at for at, word in enumerate(argv) if at and word[:1] != "-"), 0)
    for index, word in enumerate(argv[:last]):
        for tool in tables:
            if word == tool or word.endswith(f"/{tool}"):
                words = argv[index + 1 :]
                if tool not in CLICK:
                    return tool, words
                if words and words[0] in OTHER_SUBCOMMANDS:
                    return None
                return tool, words[1:] if words[:1] == ["serve"] else words
    return None


def _positional(table: Table) -> list[str]:
    return [name for name, entry in table.items() if entry.get("positional")]


def _names(table: Table) -> dict[str, str]:
    """Return every spelling of every flag with the flag's first name."""
    flags = [(flag, entry) for flag, entry in table.items() if not entry.get("positional")]
    return {name: flag for flag, entry in flags for name in (flag, *entry.get("aliases", ()))}


def _read(tool: str, words: Sequence[str], table: Table) -> tuple[list[_Given], list[str]]:
    """Return the flags of a command and its words that belong to none.

    A word too many is counted to the flag before it, unless the tool takes words of its own.
    """
    names, click, keeps = _names(table), tool in CLICK, not _positional(table)
    given: list[_Given] = []
    loose: list[str] = []
    room = 0.0
    for index, word in enumerate(words):
        if word == "--":
            return given, loose + list(words[index + 1 :])
        flag = None
        if not (click and room and word.partition("=")[0] not in names):
            flag = _flag(word, names, abbreviated=not click)
        if flag is not None:
            given.append(flag)
            room = 0 if flag.joined else _most(table.get(flag.flag or "", {}))
        elif room or (keeps and given):
            given[-1].values.append(word)
            room = max(room - 1, 0)
        else:
            loose.append(word)
    return given, loose


def _flag(word: str, names: dict[str, str], abbreviated: bool) -> _Given | None:
    """Return a word as a flag, or ``None`` if it is a value, in the order argparse decides it."""
    head, equals, value = word.partition("=")
    if word[:1] != "-" or word == "-":
        return None
    likely = [head] if head in names else []
    if not likely and abbreviated and head.startswith("--"):
        likely = [name for name in names if name.startswith(head)]
    if not likely and (NEGATIVE.fullmatch(word) or (abbreviated and " " in word)):
        return None
    flag = names[likely[0]] if len(likely) == 1 else None
    several = tuple(likely) if len(likely) > 1 else ()
    return _Given(head, flag, [value] if equals else [], bool(equals), several)


def _most(entry: Entry) -> float:
    """Return how many values a flag takes at most; one for a flag that is not known."""
    if entry.get("action"):
        return 0
    nargs = entry.get("nargs", 1)
    if isinstance(nargs, int):
        return nargs
    return 1 if nargs == "?" else float("inf")


def _misfits(name: str, given: _Given, entry: Entry) -> Iterator[str]:
    """Yield what is wrong with the values of a flag that the tool has."""
    what, values, nargs = f"{name} {given.spelling}", given.values, entry.get("nargs")
    most = 1 if given.joined else _most(entry)
    if entry.get("action"):
        if values:
            yield f"{what} takes no value, not {values[0]!r}"
        return
    if not values and nargs not in ("*", "?"):
        yield f"{what} needs a value"
    elif len(values) > most or (isinstance(nargs, int) and len(values) < nargs):
        wanted = nargs if isinstance(nargs, int) else 1
        yield f"{what} takes {wanted} value{'s' * (wanted > 1)}, not {len(values)}"
    for value in values:
        if choices := entry.get("choices"):
            if value not in choices:
                yield f"{what} must be one of {', '.join(choices)}, not {value}"
        elif not _is_a(entry.get("type"), value):
            kind = "whole number" if _is_a("float", value) else "number"
            yield f"{what} must be a {kind}, not {value}"
        elif "type" in entry and (asked := beyond(entry, float(value))):
            yield f"{what} must be {asked}, not {value}"


def _contradictions(name: str, given: Sequence[_Given]) -> Iterator[str]:
    """Yield two names of one flag with different values: the tool takes the last."""
    first: dict[str, _Given] = {}
    for each in given:
        other = first.setdefault(each.flag or each.spelling, each)
        if other.spelling != each.spelling and other.values != each.values:
            said = (f"{one.spelling} {' '.join(one.values)}" for one in (other, each))
            yield f"{name}: {' and '.join(said)} are one flag"


def beyond(entry: Entry, value: float) -> str:
    """Return the bounds of a flag in words if a number is not within them, else nothing."""
    if all(name not in entry or keeps(value, entry[name]) for name, (_, keeps) in BOUNDS.items()):
        return ""
    told = (f"{words} {entry[name]:g}" for name, (words, _) in BOUNDS.items() if name in entry)
    return " and ".join(told)


def _is_a(kind: str | None, value: str) -> bool:
    try:
        {"int": int, "float": float, None: str}[kind](value)
    except ValueError:
        return False
    return True


def _told(tool: str, spelling: str, minor: str, table: Table) -> str:
    """Tell what became of a flag that a tool has not, or which one it has that looks like it."""
    if (fate := _renamed().get(tool, {}).get(spelling)) is not None:
        since, now = fate.get("since"), fate.get("now")
        if now is None:
            return f"it was removed in {since}" if since else "it was removed"
        return f"since {since} it is {now}" if since else f"now it is {now}"
    names = _names(table)
    versions = known_versions()
    for later in versions[versions.index(minor) + 1 :]:
        newer = (_tables(later) or {})[tool]
        if (flag := _names(newer).get(spelling)) is not None:
            same = [name for name in (flag, *newer[flag].get("aliases", ())) if name in names]
            return f"in {minor} it is {same[0]}" if same else f"it came with {later}"
    near = difflib.get_close_matches(spelling, names, 1, 0.6)
    return f"the nearest is {near[0]}" if near else ""
