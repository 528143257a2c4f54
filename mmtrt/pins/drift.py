"""A lock held against this machine: every field in which they differ, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mmtrt.errors import LockStale
from mmtrt.pins.apply import asked, pin_of, place_of
from mmtrt.pins.describe import Needs, names_of
from mmtrt.pins.entry import Entry
from mmtrt.plan.stale import differences

NEVER_COMPARED = ("overrides", "backend.because")

WIDTH = 48
"""Characters of a value in a table (*chosen*: commits are seen whole)."""


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
        width = None if self.field == "overrides" else WIDTH
        if self.locked is None:
            return f"+ {self.field} {said(self.present, width)}"
        if self.present is None:
            return f"- {self.field} {said(self.locked, width)}"
        return f"~ {self.field} {said(self.locked)} -> {said(self.present)}"


def drift_of(entry: Entry, needs: Needs) -> list[Drift]:
    """Return where this machine and recipe are not what the entry says.

    A tool or a stage that only the lock knows is no drift: other formats of numbers and other hosts
    need fewer of them.
    """
    locked, present = asdict(entry), asdict(needs.facts)
    rows = []
    for name in ("mmtrt", "key_schema", "backend", "gpu", "tools", "patches", "local"):
        rows += _fields(name, locked[name], present[name])
    open_ended = ("tools.", "patches.", "local.")
    rows = [
        row
        for row in rows
        if (row.present is not None or not row.field.startswith(open_ended))
        and row.field not in NEVER_COMPARED
    ]
    for fetch in needs.fetches:
        stage = fetch.stage
        place, pin = f"{place_of(stage)}.{stage.id}", pin_of(entry, stage)
        if pin is None:
            rows.append(Drift(place, None, ", ".join(names_of(stage))))
        else:
            rows += [Drift(f"{place}.{name}", *two) for name, *two in asked(pin, stage)]
    return rows


def changes(old: Entry | None, new: Entry) -> list[Drift]:
    """Return every field in which two entries differ, other than for people's eyes."""
    rows = _fields("", {} if old is None else asdict(old), asdict(new))
    return [row for row in rows if not row.field.startswith(NEVER_COMPARED)]


@dataclass(eq=False)
class LockDrift(LockStale):
    """An entry is missing or describes something else; those of a sweep become one table."""

    name: str = ""
    """``recipe/variant``."""
    drift: tuple[Drift, ...] | None = None
    """``None`` where there is no entry."""


def stale(title: str, name: str, rows: Sequence[Drift], fix: str) -> LockDrift:
    """Return the error that lists every drift of one entry."""
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


ASKED = "--locked or MMTRT_LOCKED asks for one"


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
    cells = [list(columns), *([said(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    return "\n".join(
        "    " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
        for row in cells
    )


def said(value: Any, width: int | None = WIDTH) -> str:
    """Return a value for one cell: digests cut as people cut them, nothing as a dash."""
    if value in (None, [], {}):
        return "-"
    if isinstance(value, dict):
        value = value.get("commit") or value.get("packages") or list(value)
    text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    text = " ".join(text.split())
    return text if width is None or len(text) <= width else f"{text[: width - 3]}..."


def _fields(path: str, old: Any, new: Any) -> list[Drift]:
    """Return the leaves in which two values differ; rows of files are told by their names."""
    return [Drift(*row) for row in differences(_named(old), _named(new), path)]


def _named(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _named(each) for key, each in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return {row["name"]: row["digest"] for row in value}
    return value
