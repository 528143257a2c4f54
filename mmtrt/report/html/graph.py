"""The picture of a plan: a box a stage, coloured by what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mmtrt.report.html.layers import Sizes, lay_out

_LETTERS = 19
"""Letters of a node's first line that fit its width (*measured* in a browser, 13 px)."""


@dataclass(frozen=True)
class Stage:
    """What a picture shows of a stage."""

    id: str
    status: str
    needs: Sequence[str] = ()
    note: str = ""
    """Second line: its time or size."""
    href: str = ""


@dataclass(frozen=True)
class Box:
    """A stage's box in pixels."""

    id: str
    title: str
    note: str
    status: str
    x: float
    y: float
    width: float
    height: float
    href: str = ""


@dataclass(frozen=True)
class GraphPicture:
    """Boxes and edges (SVG paths) with the extent of the picture in pixels."""

    boxes: tuple[Box, ...]
    edges: tuple[str, ...]
    width: float
    height: float


def graph_picture(stages: Sequence[Stage], sizes: Sizes | None = None) -> GraphPicture:
    """Return the picture of a plan's stages.

    Raises:
        ValueError: if the stages need each other in a circle.
    """
    by_id: Mapping[str, Stage] = {stage.id: stage for stage in stages}
    layout = lay_out({stage.id: stage.needs for stage in stages}, sizes)
    boxes = tuple(
        Box(
            place.id,
            shortened(place.id, _LETTERS),
            by_id[place.id].note,
            by_id[place.id].status,
            place.x,
            place.y,
            place.width,
            place.height,
            by_id[place.id].href,
        )
        for place in layout.places
    )
    edges = tuple(_path(route.points) for route in layout.routes)
    return GraphPicture(boxes, edges, layout.width, layout.height)


def shortened(text: str, letters: int) -> str:
    """Return a text of at most so many letters, cut in its middle: both ends tell most."""
    if len(text) <= letters:
        return text
    head = (letters - 1) // 2
    return f"{text[:head]}…{text[len(text) - (letters - 1 - head) :]}"


def _path(points: Sequence[tuple[float, float]]) -> str:
    words = [f"M{points[0][0]:g} {points[0][1]:g}"]
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 == x1:
            words.append(f"L{x1:g} {y1:g}")
        else:
            half = (y0 + y1) / 2
            words.append(f"C{x0:g} {half:g} {x1:g} {half:g} {x1:g} {y1:g}")
    return " ".join(words)
