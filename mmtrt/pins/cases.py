"""Entries of one recipe and variant: put together as far as their pins agree."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace

from mmtrt.pins.entry import Entry

TABLES = ("tools", "patches", "local", "downloads", "clones", "environments")
"""Fields that hold a pin by name; what only one of two entries names contradicts nothing."""

WHOLE = ("mmtrt", "key_schema", "gpu")
"""Fields that are equal, or the entries contradict each other."""


def together(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Return as few entries as hold every pin, sorted.

    A choice that needs nothing which shorter or earlier ones do not need leaves no trace: a sweep
    over batch sizes is locked like its first point.

    Args:
        entries: each of one choice or more.
    """
    cases: list[Entry] = []
    for entry in sorted(entries, key=_rank):
        for place, case in enumerate(cases):
            both = combined(case, entry)
            if both is not None:
                if not _covers(case, entry):
                    lines = dict.fromkeys([*case.overrides, *entry.overrides])
                    cases[place] = replace(both, overrides=sorted(lines))
                break
        else:
            cases.append(entry)
    return tuple(sorted(cases, key=lambda case: case.overrides))


def combined(one: Entry, other: Entry) -> Entry | None:
    """Return the pins of both, with the words of the first; ``None`` if they contradict."""
    if any(getattr(one, name) != getattr(other, name) for name in WHOLE):
        return None
    if (one.backend.name, one.backend.engine) != (other.backend.name, other.backend.engine):
        return None
    if any(contradicts(one, other, name) for name in TABLES):
        return None
    return replace(one, **{name: getattr(other, name) | getattr(one, name) for name in TABLES})


def contradicts(one: Entry, other: Entry, table: str) -> bool:
    """Return whether two entries say different things of one name."""
    ours, theirs = getattr(one, table), getattr(other, table)
    return any(theirs[name] != pin for name, pin in ours.items() if name in theirs)


def is_made_for(entry: Entry, words: Sequence[str]) -> bool:
    """Return whether an entry names just this choice."""
    return any(set(line) == set(words) for line in entry.choices())


def distance(entry: Entry, words: Sequence[str]) -> int:
    """Return how many words the nearest choice of an entry has more or less."""
    return min((len(set(line) ^ set(words)) for line in entry.choices()), default=0)


def _covers(case: Entry, entry: Entry) -> bool:
    """Return whether a case says everything that an entry says, also of what is left open."""
    opens = all(
        case.leaves_open(key) or not entry.leaves_open(key) for key in ("backend", "engine")
    )
    return opens and all(
        getattr(entry, name).keys() <= getattr(case, name).keys() for name in TABLES
    )


def _rank(entry: Entry) -> tuple[int, int]:
    """Return what comes first: what leaves most open, then what takes the fewest words."""
    stated = sum(not entry.leaves_open(key) for key in ("backend", "engine"))
    return stated, sum(map(len, entry.choices()))


def line_of(words: Sequence[str]) -> str:
    """Return words as an entry keeps them."""
    return shlex.join(words)
