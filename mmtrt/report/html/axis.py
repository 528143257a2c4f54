"""A linear axis: round numbers at its ticks."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Tick:
    """A mark of an axis: where, in pixels, and what stands there."""

    at: float
    text: str


@dataclass(frozen=True)
class Axis:
    """A range of values on a range of pixels."""

    low: float
    high: float
    first: float
    last: float
    """Pixels of ``low`` and ``high``; the second may be the smaller one."""
    ticks: tuple[Tick, ...]

    def at(self, value: float) -> float:
        """Return the pixel of a value."""
        share = (value - self.low) / (self.high - self.low)
        return self.first + share * (self.last - self.first)


def axis(
    low: float, high: float, first: float, last: float, *, unit: str = "", marks: int = 5
) -> Axis:
    """Return an axis with about ``marks`` ticks whose ends are round numbers around the values.

    Args:
        low: smallest value.
        high: largest value; equal ones get room around them.
        first: pixel of the low end.
        last: pixel of the high end.
        unit: stands behind each number.
        marks: how many ticks to aim at.
    """
    if high <= low:
        room = abs(high) * 0.1 or 1.0
        low, high = (0.0, room) if high == 0 else (low - room, high + room)
    step = _round_step((high - low) / max(1, marks - 1))
    low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    count = round((high - low) / step)
    places = max(0, -math.floor(math.log10(step)))
    bare = Axis(low, high, first, last, ())
    values = [low + i * step for i in range(count + 1)]
    ticks = tuple(Tick(round(bare.at(v), 1), f"{v:,.{places}f}{unit}") for v in values)
    return Axis(low, high, first, last, ticks)


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * n for n in (1, 2, 2.5, 5, 10) if power * n >= rough * (1 - 1e-9))
