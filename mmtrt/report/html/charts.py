"""Plots of a sweep: points with the Pareto front marked, and bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mmtrt.report.html.axis import Tick, axis

WIDTH, HEIGHT = 720.0, 330.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 70.0, 24.0, 14.0, 44.0
_LETTER, _LINE, _DOT = 6.6, 14.0, 6.0
"""Pixels: mean width of a letter at 12 px, height of a line, radius of a point with its ring."""

_MOST_LABELS = 80
"""More would only cover the plot; the others have their names on hovering (*chosen*)."""


@dataclass(frozen=True)
class Sample:
    """A point of a sweep on two axes."""

    id: str
    label: str
    x: float
    y: float
    on_front: bool


@dataclass(frozen=True)
class Label:
    """A text's box in pixels; ``x`` is its left end, ``y`` its base line."""

    text: str
    x: float
    y: float
    width: float


@dataclass(frozen=True)
class Dot:
    """A point in pixels; its label is left out where no place is free."""

    id: str
    title: str
    x: float
    y: float
    on_front: bool
    label: Label | None


@dataclass(frozen=True)
class ScatterPicture:
    """Points on two axes."""

    dots: tuple[Dot, ...]
    front: str
    """SVG path through the points of the front; empty with fewer than two."""
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    x_title: str
    y_title: str
    left: float = _LEFT
    right: float = WIDTH - _RIGHT
    top: float = _TOP
    bottom: float = HEIGHT - _BOTTOM
    width: float = WIDTH
    height: float = HEIGHT


def scatter_picture(samples: Sequence[Sample], x_title: str, y_title: str) -> ScatterPicture:
    """Return the plot of a sweep's points; the front's labels are placed first."""
    xs, ys = [s.x for s in samples], [s.y for s in samples]
    across = axis(min(xs, default=0), max(xs, default=1), _LEFT, WIDTH - _RIGHT)
    up = axis(min(ys, default=0), max(ys, default=1), HEIGHT - _BOTTOM, _TOP)
    spots = {s.id: (round(across.at(s.x), 1), round(up.at(s.y), 1)) for s in samples}
    labels = _labels(sorted(samples, key=lambda s: not s.on_front), spots)
    dots = tuple(
        Dot(
            s.id,
            f"{s.label}: {s.x:,.4g} {x_title}, {s.y:,.4g} {y_title}",
            *spots[s.id],
            s.on_front,
            labels.get(s.id),
        )
        for s in samples
    )
    corners = sorted({spots[s.id] for s in samples if s.on_front})
    front = "M" + " L".join(f"{x:g} {y:g}" for x, y in corners) if len(corners) > 1 else ""
    return ScatterPicture(dots, front, across.ticks, up.ticks, x_title, y_title)


def _labels(samples: Sequence[Sample], spots: dict[str, tuple[float, float]]) -> dict[str, Label]:
    """Place labels beside their points so that none covers a point or another label."""
    taken = [(x - _DOT, y - _DOT, x + _DOT, y + _DOT) for x, y in spots.values()]
    labels: dict[str, Label] = {}
    for sample in samples[:_MOST_LABELS]:
        x, y = spots[sample.id]
        width = round(len(sample.label) * _LETTER, 1)
        for left, base in (
            (x + 10, y + 4),
            (x - 10 - width, y + 4),
            (x - width / 2, y - 11),
            (x - width / 2, y + 20),
            (x + 8, y - 9),
            (x + 8, y + 18),
            (x - 8 - width, y - 9),
            (x - 8 - width, y + 18),
        ):
            box = (left, base - _LINE + 3, left + width, base + 3)
            inside = box[0] >= _LEFT + 2 and box[2] <= WIDTH and box[1] >= 0
            inside = inside and box[3] <= HEIGHT - _BOTTOM - 2
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                labels[sample.id] = Label(sample.label, round(left, 1), round(base, 1), width)
                break
    return labels


_Rect = tuple[float, float, float, float]


def _overlap(a: _Rect, b: _Rect) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@dataclass(frozen=True)
class BarRow:
    """One bar: its share of the longest, in per cent, and its value as text."""

    label: str
    share: float
    text: str
    on_front: bool


@dataclass(frozen=True)
class Bars:
    """A quantity over all points that have it."""

    title: str
    note: str
    """Which direction is better."""
    rows: tuple[BarRow, ...]


def bars(title: str, note: str, rows: Sequence[tuple[str, float, str, bool]]) -> Bars:
    """Return bars from zero; each row is label, value, text, and whether it is on the front."""
    longest = max((value for _, value, _, _ in rows), default=0.0) or 1.0
    return Bars(
        title,
        note,
        tuple(BarRow(label, round(100 * v / longest, 2), t, f) for label, v, t, f in rows),
    )
