"""What a request costs: the one place that asks ``mmtrt.sizing``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmtrt.fake import settings
from mmtrt.fake.failure import ToolFailure
from mmtrt.sizing.features import (
    ImageCost,
    MissingFact,
    UnknownFamily,
    VisionShape,
    audio_features,
    image_cost,
)

SAMPLE_SIZE = (1080, 1920)
SAMPLE_SIZES = {"fuyu": (480, 640)}
"""(height, width) of the tools' own sample pictures; they are not known (*chosen*)."""

PLAIN = (
    *("image_tokens", "max_tiles", "spatial_merge_size", "min_pixels", "max_pixels"),
    *("max_patches", "num_frames", "frame_tokens"),
)


@dataclass(frozen=True)
class Cost:
    """What one request needs."""

    rows: int
    """Of the prompt-embedding table."""
    encoder_tokens: int
    """That the language model attends to across."""
    items: int
    """Of the vision engine's batch axis."""
    marks: int
    """Prompt tokens that are no rows of the table."""
    slots: int = 1
    """Items that one unit of the vision engine's ``max_batch_size`` admits."""


def sample_size(family: str) -> tuple[int, int]:
    """Return (height, width) of the picture that a tool takes where none is given."""
    stated = settings.read().sample_size
    return SAMPLE_SIZES.get(family, SAMPLE_SIZE) if stated is None else (stated[0], stated[1])


def request(
    family: str,
    facts: Mapping[str, Any],
    pictures: list[tuple[int, int]],
    frames: int | None = None,
    audio_seconds: float | None = None,
) -> Cost:
    """Return the cost of one request.

    Args:
        family: as ``mmtrt.sizing`` calls it.
        facts: of the recipe's variant.
        pictures: (height, width) of each; empty where there is a video or nothing to see.
        frames: of the video.
        audio_seconds: of the sound.
    """
    costs = [_cost(family, facts, size, len(pictures), None) for size in pictures]
    if frames is not None:
        costs.append(_cost(family, facts, None, 1, frames))
    return Cost(
        rows=sum(cost.features for cost in costs) + audio_features(family, audio_seconds),
        encoder_tokens=sum(cost.encoder_tokens for cost in costs),
        items=sum(cost.tiles for cost in costs),
        marks=sum(cost.marks for cost in costs),
        slots=max((cost.tiles_per_slot for cost in costs), default=1),
    )


def tiles_per_slot(family: str, facts: Mapping[str, Any]) -> int:
    """Return how many items one unit of the vision build's ``--max_batch_size`` admits."""
    frames = int(facts["num_frames"]) if family == "video_neva" and "num_frames" in facts else None
    return _cost(family, facts, None, 1, frames).tiles_per_slot


def _cost(
    family: str,
    facts: Mapping[str, Any],
    size: tuple[int, int] | None,
    images: int,
    frames: int | None,
) -> ImageCost:
    shape = VisionShape(
        image_size=_pair(facts.get("image_size")),
        patch_size=facts.get("patch_size"),
        pinpoints=tuple((p[0], p[1]) for p in facts.get("image_grid_pinpoints") or ()),
        **{name: facts.get(name) for name in PLAIN},
    )
    try:
        return image_cost(family, shape, size, images=images, frames=frames)
    except (UnknownFamily, MissingFact) as error:
        raise ToolFailure("KeyError", f"stand-in of {family}: {error}") from error


def _pair(value: Any) -> tuple[int, int] | None:
    return None if value is None else (int(value[0]), int(value[1]))
