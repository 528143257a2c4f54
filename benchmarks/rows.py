"""What was measured, as rows of a table: the claim, the goal, the numbers, the verdict."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.timing import Timing, ratio

MET, MISSED = "met", "**missed**"


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement."""

    what: str
    measured: str
    beside: str = ""
    """Others in the same rounds, and how many times longer they take: see :func:`beside`."""
    goal: str = ""
    verdict: str = ""
    """:data:`MET`, :data:`MISSED`, ``not installed``; empty where there is no goal."""


@dataclass(slots=True)
class Section:
    """The rows that belong together."""

    title: str
    rows: list[Row] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    """As one would type them; they never hold a path of the machine."""
    notes: list[str] = field(default_factory=list)

    def add(self, *args: str, **fields: str) -> None:
        """Append a row and print it: measuring takes minutes, and people like to see it go on."""
        row = Row(*args, **fields)
        self.rows.append(row)
        parts = [row.what, row.measured, row.beside, row.goal, row.verdict]
        print("  " + " | ".join(part for part in parts if part), flush=True)


def verdict(value: float, at_most: float | None = None, at_least: float | None = None) -> str:
    """Compare a measured number with its goal."""
    is_met = (at_most is None or value <= at_most) and (at_least is None or value >= at_least)
    return MET if is_met else MISSED


def duration(seconds: float) -> str:
    """Return a time with three significant digits at most: ``12.3 ms``, ``1.52 s``."""
    if abs(seconds) < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    if abs(seconds) < 1:
        return f"{seconds * 1e3:.{_decimals(seconds * 1e3)}f} ms"
    return f"{seconds:.{_decimals(seconds)}f} s"


def spread(timing: Timing) -> str:
    """Return median, range and processor time of a contender."""
    span = f"{duration(timing.low_s)} to {duration(timing.high_s)}"
    return f"{duration(timing.median_s)} ({span}; CPU {duration(timing.cpu_s)})"


def beside(name: str, other: Timing | None, ours: Timing) -> str:
    """Return a peer's time and how many times longer than ours it is."""
    if other is None:
        return f"{name} not installed"
    return f"{name} {duration(other.median_s)} ({times(ratio(other, ours))})"


def times(factor: float) -> str:
    """Return a ratio: ``3.4x``."""
    return f"{factor:.{_decimals(factor)}f}x"


def _decimals(value: float) -> int:
    return 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
