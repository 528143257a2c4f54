"""Which points of a sweep no other is better than in every respect.

The axes are accuracy and decode speed, of which more is better, and the size of the engines, of
which less is better: those of the three that at least one finished point has. A point dominates
another if it is nowhere worse and somewhere better. One that lacks an axis which others have is not
on the front and dominates none: what is unknown is no merit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

AXES: tuple[tuple[str, bool], ...] = (
    ("accuracy", True),
    ("decode_tokens_per_s", True),
    ("engine_bytes", False),
)
"""Name of a figure, and whether more of it is better."""


def axes_of(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, bool]]:
    """Return the axes that the finished points have values for."""
    done = [row for row in rows if row.get("status") == "done"]
    return [axis for axis in AXES if any(row.get(axis[0]) is not None for row in done)]


def front(rows: Sequence[Mapping[str, Any]]) -> list[bool]:
    """Return for each point whether no other dominates it; only finished points can be."""
    axes = axes_of(rows)
    costs: list[tuple[float, ...] | None] = []
    for row in rows:
        values = [row.get(name) for name, _ in axes]
        is_placed = axes and row.get("status") == "done" and None not in values
        costs.append(
            tuple(-v if more else v for v, (_, more) in zip(values, axes) if v is not None)
            if is_placed
            else None
        )
    kept: list[tuple[float, ...]] = []
    # In this order nothing that comes later dominates what came before.
    for cost in sorted({cost for cost in costs if cost is not None}):
        if not any(all(a <= b for a, b in zip(better, cost)) for better in kept):
            kept.append(cost)
    best = set(kept)
    return [cost is not None and cost in best for cost in costs]
