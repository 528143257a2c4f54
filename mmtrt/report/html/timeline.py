"""When every stage ran: one bar a stage on an axis of seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mmtrt.report.html.axis import Tick, axis
from mmtrt.report.units import duration_text

WIDTH, LABEL, ROW, HEAD, TAIL = 720.0, 150.0, 24.0, 22.0, 70.0
"""Pixels: of the picture, of the names, of a row, above the rows, right of the axis."""
_LEAST = 2.0
"""Width of a bar too short to see."""


@dataclass(frozen=True)
class Span:
    """When a stage ran, in seconds since the run began."""

    id: str
    status: str
    start: float
    seconds: float


@dataclass(frozen=True)
class Bar:
    """A stage's bar in pixels, with what stands at its right."""

    id: str
    status: str
    x: float
    y: float
    width: float
    height: float
    text: str


@dataclass(frozen=True)
class TimelinePicture:
    """Bars and ticks in pixels."""

    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    width: float
    height: float


def timeline_picture(spans: Sequence[Span]) -> TimelinePicture:
    """Return the picture of stages' times, in the order given."""
    end = max((span.start + span.seconds for span in spans), default=0.0)
    scale = axis(0.0, end, LABEL, WIDTH - TAIL, unit=" s")
    bars = []
    for i, span in enumerate(spans):
        x = scale.at(span.start)
        width = max(_LEAST, scale.at(span.start + span.seconds) - x)
        bars.append(
            Bar(
                span.id,
                span.status,
                round(x, 1),
                HEAD + i * ROW + 4,
                round(width, 1),
                ROW - 8,
                duration_text(span.seconds) if span.seconds else span.status,
            )
        )
    return TimelinePicture(tuple(bars), scale.ticks, WIDTH, HEAD + len(spans) * ROW + 6)
