"""Places for the nodes of a graph: layers from top to bottom, few crossings, nothing overlaps.

The method is Sugiyama's: longest-path layers, places of their own for edges that pass a layer,
orders by the mean of the neighbours, then positions as near to the neighbours as the order allows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

_SWEEPS = 8
"""Passes down and up (*chosen*: recipes' graphs of up to 50 nodes do not change after 4)."""


@dataclass(frozen=True)
class Sizes:
    """Sizes in pixels."""

    width: float = 148
    """Of a node."""
    height: float = 46
    lane: float = 10
    """Width of the place where an edge passes a layer."""
    gap: float = 18
    """Between two places of a layer."""
    rise: float = 34
    """Between two layers."""
    margin: float = 8


@dataclass(frozen=True)
class Place:
    """The box of a node: its upper left corner and its extent in pixels."""

    id: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Route:
    """An edge as points from the bottom of one node to the top of another."""

    source: str
    target: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Layout:
    """Every place and route, and the extent of the whole picture in pixels."""

    places: tuple[Place, ...]
    routes: tuple[Route, ...]
    width: float
    height: float


_Slot = tuple[str, str, int]
"""A node as ``(id, "", layer)``; a lane as ``(source, target, layer)``."""


def lay_out(needs: Mapping[str, Sequence[str]], sizes: Sizes | None = None) -> Layout:
    """Return where the nodes of a graph stand.

    Args:
        needs: id of each node -> ids of the nodes before it, which may stand in any order; ids
            that are no node are passed over.
        sizes: of the nodes and gaps.

    Raises:
        ValueError: if the nodes need each other in a circle.
    """
    sizes = sizes or Sizes()
    known = {
        name: [n for n in dict.fromkeys(before) if n in needs] for name, before in needs.items()
    }
    depth = _depths(known)
    chains = [_chain(source, target, depth) for target in known for source in known[target]]
    rows: list[list[_Slot]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for name in known:
        rows[depth[name]].append((name, "", depth[name]))
    for chain in chains:
        for slot in chain[1:-1]:
            rows[slot[2]].append(slot)
    above: dict[_Slot, list[_Slot]] = {slot: [] for row in rows for slot in row}
    below: dict[_Slot, list[_Slot]] = {slot: [] for row in rows for slot in row}
    for chain in chains:
        for upper, lower in pairwise(chain):
            below[upper].append(lower)
            above[lower].append(upper)
    _order(rows, above, below)
    middle = _positions(rows, above, below, sizes)
    left = min((middle[s] - _width(s, sizes) / 2 for s in middle), default=0.0)
    shift = sizes.margin - left
    step = sizes.height + sizes.rise
    places = tuple(
        Place(
            name,
            round(middle[name, "", depth[name]] + shift - sizes.width / 2, 1),
            sizes.margin + depth[name] * step,
            sizes.width,
            sizes.height,
        )
        for name in known
    )
    routes = tuple(_route(chain, middle, shift, sizes) for chain in chains)
    right = max((middle[s] + shift + _width(s, sizes) / 2 for s in middle), default=0.0)
    height = len(rows) * step - sizes.rise + 2 * sizes.margin if rows else 0.0
    return Layout(places, routes, round(right + sizes.margin, 1), height)


def _depths(needs: Mapping[str, Sequence[str]]) -> dict[str, int]:
    depth: dict[str, int] = {}
    waiting = list(needs)
    while waiting:
        ready = [name for name in waiting if all(each in depth for each in needs[name])]
        if not ready:
            raise ValueError(f"a circle among {', '.join(sorted(waiting))}")
        for name in ready:
            depth[name] = max((depth[each] + 1 for each in needs[name]), default=0)
        waiting = [name for name in waiting if name not in depth]
    return depth


def _chain(source: str, target: str, depth: Mapping[str, int]) -> list[_Slot]:
    lanes = [(source, target, layer) for layer in range(depth[source] + 1, depth[target])]
    return [(source, "", depth[source]), *lanes, (target, "", depth[target])]


def _width(slot: _Slot, sizes: Sizes) -> float:
    return sizes.lane if slot[1] else sizes.width


def _order(
    rows: list[list[_Slot]],
    above: Mapping[_Slot, list[_Slot]],
    below: Mapping[_Slot, list[_Slot]],
) -> None:
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        neighbours = above if down else below
        for row in rows if down else reversed(rows):
            rank = {slot: i for each in rows for i, slot in enumerate(each)}
            # Sorting is stable: slots without neighbours there keep their place.
            row.sort(key=lambda slot: _mean([rank[n] for n in neighbours[slot]], rank[slot]))


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _positions(
    rows: list[list[_Slot]],
    above: Mapping[_Slot, list[_Slot]],
    below: Mapping[_Slot, list[_Slot]],
    sizes: Sizes,
) -> dict[_Slot, float]:
    """Return the middle of every slot."""
    middle: dict[_Slot, float] = {}
    for row in rows:
        offsets = _offsets(row, sizes)
        centre = (offsets[0] + offsets[-1]) / 2
        middle |= {slot: offset - centre for slot, offset in zip(row, offsets)}
    for sweep in range(_SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wanted = [
                _mean([middle[n] for n in (*above[slot], *below[slot])], middle[slot])
                for slot in row
            ]
            offsets = _offsets(row, sizes)
            fitted = _ascending([want - offset for want, offset in zip(wanted, offsets)])
            middle |= {slot: fit + offset for slot, fit, offset in zip(row, fitted, offsets)}
    return middle


def _offsets(row: Sequence[_Slot], sizes: Sizes) -> list[float]:
    """Return the middles of a row that is packed as tightly as the gaps allow."""
    offsets = [0.0]
    for left, right in pairwise(row):
        offsets.append(offsets[-1] + (_width(left, sizes) + _width(right, sizes)) / 2 + sizes.gap)
    return offsets


def _ascending(values: Sequence[float]) -> list[float]:
    """Return the nearest non-decreasing values by least squares (pool adjacent violators)."""
    pools: list[tuple[float, int]] = []
    for value in values:
        pools.append((value, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (a, m), (b, n) = pools.pop(-2), pools.pop()
            pools.append(((a * m + b * n) / (m + n), m + n))
    return [mean for mean, count in pools for _ in range(count)]


def _route(
    chain: Sequence[_Slot], middle: Mapping[_Slot, float], shift: float, sizes: Sizes
) -> Route:
    step = sizes.height + sizes.rise
    points: list[tuple[float, float]] = []
    for slot in chain:
        x, top = round(middle[slot] + shift, 1), sizes.margin + slot[2] * step
        # A lane is as high as a row, so that an edge bends only between rows.
        points += [(x, top), (x, top + sizes.height)]
    return Route(chain[0][0], chain[-1][0], tuple(points[1:-1]))
