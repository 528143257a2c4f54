"""What calculators read and what they answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Flavour = Literal["trtllm", "hf"]
"""Whose arithmetic: TensorRT-LLM's runner, or the Hugging Face processor of the model."""

Pair = tuple[int, int]
"""(height, width)."""


@dataclass(frozen=True, slots=True)
class ImageCost:
    """What one picture costs, or one video where a video was asked for."""

    features: int
    """Rows of the prompt-embedding table; 0 where features reach the model by cross-attention."""
    tiles: int
    """Items of the vision engine's batch axis: pictures, tiles, frames or patch rows."""
    because: str
    """The sum, in words."""
    encoder_tokens: int = 0
    """Rows that the language model attends to across; 0 where there is a prompt table."""
    marks: int = 0
    """Prompt tokens that are no rows of the table, such as the ends of a picture's rows."""
    unit: str = "image"
    """What one of ``tiles`` is."""
    tiles_per_slot: int = 1
    """Tiles that one unit of ``vision.max_batch_size`` admits."""
    is_worst: bool = False
    """Whether it is the dearest of several that the view leaves open."""


@dataclass(frozen=True, slots=True)
class VisionShape:
    """The numbers of a model that its calculator reads; ``None`` where it has none."""

    image_size: Pair | None = None
    """(height, width) in pixels that the vision encoder sees."""
    patch_size: int | None = None
    pinpoints: tuple[Pair, ...] = ()
    """(height, width) resolutions that an any-resolution model may choose."""
    image_tokens: int | None = None
    max_tiles: int | None = None
    spatial_merge_size: int | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    max_patches: int | None = None
    num_frames: int | None = None
    frame_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class View:
    """What a request shows the model."""

    size: Pair | None = None
    """(height, width) of the picture in pixels; ``None`` means the worst case."""
    images: int = 1
    """Pictures of the request: some models cut a lone picture finer than several."""
    frames: int | None = None
    """Frames of the video, if there is one."""
    flavour: Flavour = "trtllm"


class UnknownFamily(KeyError):
    """No calculator is known for this family."""


class MissingFact(KeyError):
    """A calculator needs a number that the recipe's facts do not say."""

    def __init__(self, family: str, fact: str) -> None:
        super().__init__(fact)
        self.family = family
        self.fact = fact

    def __str__(self) -> str:
        return f"sizes of family {self.family} need facts.{self.fact}"


def needed(value: int | None, family: str, fact: str) -> int:
    """Return a number that must be known.

    Raises:
        MissingFact: if it is ``None``.
    """
    if value is None:
        raise MissingFact(family, fact)
    return value


def side(shape: VisionShape, family: str) -> int:
    """Return the side in pixels of a square vision encoder.

    Raises:
        MissingFact: if it is not known.
    """
    if shape.image_size is None:
        raise MissingFact(family, "image_size")
    return shape.image_size[0]
