"""The pictures that the tiny LLaVA knows: scenes at random, their pixels, questions and answers.

Knows nothing of models. Only `random.Random.random` (its sequence for a seed is kept
between Python versions) and exactly rounded arithmetic are used, so a seed gives the same pixels
everywhere.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
import numpy.typing as npt

RGB = tuple[int, int, int]
Item = TypeVar("Item")

COLOURS: dict[str, RGB] = {
    "red": (220, 40, 40),
    "green": (40, 170, 60),
    "blue": (40, 80, 220),
    "yellow": (240, 220, 50),
    "purple": (150, 50, 180),
    "orange": (245, 140, 30),
}
SHAPES = ("circle", "square", "triangle", "cross")
BACKGROUNDS: dict[str, RGB] = {
    "black": (15, 15, 15),
    "white": (240, 240, 240),
    "grey": (128, 128, 128),
}
SIDES = ("left", "right")

# All chosen. In fractions of the picture's side: a shape never leaves the picture, and its centre
# keeps away from the middle so that left and right are never a matter of opinion.
RADIUS = (0.14, 0.20)
NEAR_X = (0.21, 0.38)
CENTRE_Y = (0.22, 0.78)
# In steps of 0..255: neighbouring colours stay apart, yet no two pictures share exact values.
COLOUR_JITTER = 18
BACKGROUND_JITTER = 12


@dataclass(frozen=True)
class Scene:
    """One shape on a plain background: what is asked about, and where and how it is drawn."""

    colour: str
    shape: str
    background: str
    side: str
    centre: tuple[float, float]
    """x and y of the centre, as fractions of the picture's side."""
    radius: float
    """Half of the bounding box's side, as a fraction of the picture's side."""
    ink: RGB
    paper: RGB

    @property
    def name(self) -> str:
        """Name the scene as a file would be named, such as ``red_circle_left_on_white``."""
        return f"{self.colour}_{self.shape}_{self.side}_on_{self.background}"


def _pick(rng: random.Random, items: Sequence[Item]) -> Item:
    return items[int(rng.random() * len(items))]


def _between(rng: random.Random, low: float, high: float) -> float:
    return low + (high - low) * rng.random()


def _jitter(rng: random.Random, colour: RGB, width: int) -> RGB:
    red, green, blue = (
        min(255, max(0, channel - width + int(rng.random() * (2 * width + 1))))
        for channel in colour
    )
    return red, green, blue


def place(rng: random.Random, colour: str, shape: str, background: str, side: str) -> Scene:
    """Place a shape of the given looks at random."""
    near_x = _between(rng, *NEAR_X)
    return Scene(
        colour=colour,
        shape=shape,
        background=background,
        side=side,
        centre=(near_x if side == "left" else 1.0 - near_x, _between(rng, *CENTRE_Y)),
        radius=_between(rng, *RADIUS),
        ink=_jitter(rng, COLOURS[colour], COLOUR_JITTER),
        paper=_jitter(rng, BACKGROUNDS[background], BACKGROUND_JITTER),
    )


def scenes(seed: int, stream: str) -> Iterator[Scene]:
    """Yield endless random scenes; each ``(seed, stream)`` pair is a sequence of its own."""
    rng = random.Random(f"{stream}:{seed}")
    while True:
        colour = _pick(rng, tuple(COLOURS))
        shape = _pick(rng, SHAPES)
        background = _pick(rng, tuple(BACKGROUNDS))
        yield place(rng, colour, shape, background, _pick(rng, SIDES))


def _distance(
    shape: str, dx: npt.NDArray[np.float64], dy: npt.NDArray[np.float64], radius: float
) -> npt.NDArray[np.float64]:
    """Measure how far each point lies outside the shape (negative inside); y grows downwards."""
    ax, ay = np.abs(dx), np.abs(dy)
    if shape == "circle":
        return np.sqrt(dx * dx + dy * dy) - radius
    if shape == "square":
        return np.maximum(ax, ay) - 0.9 * radius
    if shape == "triangle":
        slope = (2.0 * ax - (dy + radius)) / np.sqrt(5.0)
        return np.maximum(slope, dy - radius)
    if shape == "cross":
        arm = 0.34 * radius
        return np.minimum(
            np.maximum(ax - radius, ay - arm),
            np.maximum(ax - arm, ay - radius),
        )
    raise ValueError(f"no such shape: {shape!r}")


def draw(scene: Scene, side_px: int) -> npt.NDArray[np.uint8]:
    """Draw the scene as ``[side_px, side_px, 3]`` RGB; any size shows the same picture."""
    grid = (np.arange(side_px, dtype=np.float64) + 0.5) / side_px
    dx, dy = grid[None, :] - scene.centre[0], grid[:, None] - scene.centre[1]
    distance = _distance(scene.shape, dx, dy, scene.radius)
    # One pixel of blending along the outline stands in for supersampling.
    cover = np.clip(0.5 - distance * side_px, 0.0, 1.0)[..., None]
    ink, paper = np.array(scene.ink, np.float64), np.array(scene.paper, np.float64)
    return np.floor(paper + (ink - paper) * cover + 0.5).astype(np.uint8)


def digest(seed: int, stream: str, count: int, side_px: int) -> str:
    """Hash the pixels of the first pictures of a stream."""
    sha = hashlib.sha256()
    for scene in islice(scenes(seed, stream), count):
        sha.update(scene.name.encode())
        sha.update(draw(scene, side_px).tobytes())
    return sha.hexdigest()


QUESTIONS: dict[str, str] = {
    "colour": "What colour is the shape?",
    "shape": "What shape is it?",
    "background": "What colour is the background?",
    "side": "Is the shape on the left or on the right?",
    "describe": "Describe the picture.",
}
"""Question kind to its exact wording; the model has seen no other."""


def answer(kind: str, scene: Scene) -> str:
    """Answer one kind of question about a scene."""
    if kind == "colour":
        return scene.colour
    if kind == "shape":
        return scene.shape
    if kind == "background":
        return scene.background
    if kind == "side":
        return scene.side
    if kind == "describe":
        return describe(scene.colour, scene.shape, scene.side, scene.background)
    raise ValueError(f"no such kind of question: {kind!r}")


def describe(colour: str, shape: str, side: str, background: str) -> str:
    """Describe a picture in a sentence."""
    article = "an" if colour[0] in "aeiou" else "a"
    return f"{article} {colour} {shape} on the {side} of a {background} background"
