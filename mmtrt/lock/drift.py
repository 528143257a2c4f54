"""A lock held against this machine and recipe: every field in which they differ, as a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mmtrt.errors import LockStale
from mmtrt.lock.needs import Needs
from mmtrt.lock.tables import ROW_TABLES, TABLES, Lock, LockedRecipe

WIDTH = 48
"""Characters of a value in a table (*chosen*: commits are seen whole)."""

ASKED = "--locked or MMTRT_LOCKED asks for one"


@dataclass(frozen=True, slots=True)
class Drift:
    """One field in which a lock and what it should describe differ."""

    field: str
    locked: Any
    """``None`` where the lock says nothing of it."""
    present: Any
    """``None`` where nothing needs it any more."""

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain data."""
        return asdict(self)

    def text(self) -> str:
        """Return the row as a line: what came, went or became something else."""
        width = None if self.field == "choices" else WIDTH
        if self.locked is None:
            return f"+ {self.field} {cell(self.present, width)}"
        if self.present is None:
            return f"- {self.field} {cell(self.locked, width)}"
        return f"~ {self.field} {cell(self.locked)} -> {cell(self.present)}"


def drift_of(lock: Lock, needs: Needs) -> tuple[Drift, ...]:
    """Return where this machine and recipe are not what the lock says.

    What only the lock knows is no drift: another quantization and another host need fewer tools
    and sources.
    """
    writer = Lock()
    rows = [
        Drift(name, getattr(lock, name), getattr(writer, name))
        for name in ("mmtrt", "key_schema")
        if getattr(lock, name) != getattr(writer, name)
    ]
    locked, present = lock.recipes[needs.name], needs.facts
    if present.backend is not None and present.backend != locked.backend:
        rows.append(Drift("backend", locked.backend, present.backend))
    if not set(present.gpu) <= set(locked.gpu):
        rows.append(Drift("gpu", _shown(locked.gpu), _shown(present.gpu)))
    for table in TABLES:
        known, asked = getattr(locked, table), getattr(present, table)
        for name, values in asked.items():
            if not set(values) <= set(known.get(name, ())):
                rows.append(Drift(f"{table}.{name}", _shown(known.get(name)), _shown(values)))
    return tuple(rows)


def _shown(values: Sequence[str] | None) -> str | None:
    return ", ".join(values) if values else None


def changes(old: Lock, new: Lock, name: str) -> list[Drift]:
    """Return every field in which two locks differ about one recipe."""
    before, after = (dict(_flat(lock, name)) for lock in (old, new))
    rows = [
        Drift(field, before.get(field), after.get(field))
        for field in dict.fromkeys([*before, *after])
        if before.get(field) != after.get(field)
    ]
    ours, theirs = (lock.recipes.get(name, LockedRecipe()).choices for lock in (old, new))
    added = [Drift("choices", None, line) for line in theirs if line not in ours]
    return [*added, *(Drift("choices", line, None) for line in ours if line not in theirs), *rows]


def _flat(lock: Lock, name: str) -> Iterator[tuple[str, Any]]:
    """Yield each thing that a lock says of a recipe, by a name."""
    if (recipe := lock.recipes.get(name)) is None:
        return
    yield "backend", recipe.backend
    yield "gpu", _shown(recipe.gpu)
    for table in TABLES:
        for key, values in getattr(recipe, table).items():
            yield f"{table}.{key}", _shown(values)
    for table in ROW_TABLES:
        for row in recipe.values(table):
            for part, value in asdict(lock.rows(table)[row]).items():
                lines = [f"{each['name']} {each['digest']}" for each in value if part == "files"]
                yield f"{row}.{part}", value if isinstance(value, str) else _shown(lines or value)


@dataclasses.dataclass(eq=False)
class LockDrift(LockStale):
    """A recipe is not in the lock, or is something else; those of a sweep become one table."""

    name: str = ""
    """``recipe/variant``."""
    drift: tuple[Drift, ...] | None = None
    """``None`` where the lock does not speak of it."""


def stale(title: str, name: str, rows: Sequence[Drift], fix: str) -> LockDrift:
    """Return the error that lists every drift of one recipe."""
    return LockDrift(
        f"{title} does not describe {name} any more: {counted(len(rows), 'difference')}",
        code="LCK101",
        why=f"the lock and what is here:\n{table(rows)}",
        fix=fix,
        name=name,
        drift=tuple(rows),
    )


def no_entry(title: str, name: str, is_there: bool, fix: str) -> LockDrift:
    """Return the error of a recipe that no lock speaks of."""
    return LockDrift(
        f"{title} has no entry for {name}" if is_there else no_file(title),
        code="LCK102",
        why=ASKED,
        fix=fix,
        name=name,
    )


def no_file(title: str) -> str:
    """Return the message of a lock that is not there."""
    return f"there is no lock file {title}"


def counted(number: int, word: str) -> str:
    """Return a number with its noun."""
    return f"{number} {word}{'s' * (number != 1)}"


def table(rows: Sequence[Drift], columns: tuple[str, str] = ("LOCKED", "PRESENT")) -> str:
    """Return the rows as aligned lines below FIELD, LOCKED and PRESENT."""
    return aligned(("FIELD", *columns), [(row.field, row.locked, row.present) for row in rows])


def aligned(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return rows as aligned lines, indented as the rest of an error is."""
    cells = [list(columns), *([cell(each) for each in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    return "\n".join(
        "    " + "  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip()
        for row in cells
    )


def cell(value: Any, width: int | None = WIDTH) -> str:
    """Return a value for one cell: on one line, cut where it is long, nothing as a dash."""
    if value in (None, [], {}):
        return "-"
    if isinstance(value, dict):
        value = ", ".join(value)
    elif isinstance(value, (list, tuple)):
        value = ", ".join(map(str, value))
    text = " ".join(str(value).split())
    return text if width is None or len(text) <= width else f"{text[: width - 3]}..."
