"""What a request costs, by each model's own processor and the runner's code.

The numbers are worked out here once more, and on purpose not by ``mmtrt.sizing``: a stand-in that
asked it could not find its errors.

Sources: ``processing_*.py`` of the checkpoints; TensorRT-LLM 1.2 ``multimodal_model_runner.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mmtrt.fake import settings
from mmtrt.fake.failure import ToolFailure

SAMPLE_SIZE = (1080, 1920)
SAMPLE_SIZES = {"fuyu": (480, 640)}
"""(height, width) of the tools' own sample pictures; they are not known (*chosen*)."""

Size = tuple[int, int]
Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Cost:
    """What one request needs."""

    rows: int = 0
    """Of the prompt-embedding table."""
    encoder_tokens: int = 0
    """That the language model attends to across."""
    items: int = 1
    """Of the vision engine's batch axis."""
    marks: int = 0
    """Prompt tokens that are no rows of the table."""


def sample_size(family: str) -> Size:
    """Return (height, width) of the picture that a tool takes where none is given."""
    stated = settings.read().sample_size
    return SAMPLE_SIZES.get(family, SAMPLE_SIZE) if stated is None else (stated[0], stated[1])


def request(
    family: str,
    facts: Facts,
    pictures: list[Size],
    frames: int | None = None,
    audio_seconds: float | None = None,
) -> Cost:
    """Return the cost of one request.

    Args:
        family: a key of ``families.FAMILIES``.
        facts: of the recipe's variant.
        pictures: (height, width) of each; empty where there is a video or nothing to see.
        frames: of the video.
        audio_seconds: of the sound.
    """
    try:
        costs = [COSTS[family](facts, size) for size in pictures]
        if frames is not None:
            costs.append(_video(family, facts, frames))
    except (KeyError, TypeError) as error:
        raise ToolFailure("KeyError", f"stand-in of {family}: {error}") from error
    # A frame every 10 ms, eight of them a token.
    sound = 0 if audio_seconds is None else math.ceil(int(100 * audio_seconds) / 8)
    return Cost(
        rows=sum(cost.rows for cost in costs) + sound,
        encoder_tokens=sum(cost.encoder_tokens for cost in costs),
        items=sum(cost.items for cost in costs),
        marks=sum(cost.marks for cost in costs),
    )


def tiles_per_slot(family: str, facts: Facts) -> int:
    """Return how many items one unit of the vision build's ``--max_batch_size`` admits."""
    return int(facts.get("max_tiles") or 12) if family == "internvl2" else 1


def _side(facts: Facts) -> int:
    """Return the patches along one side of what the vision encoder sees."""
    return int(facts["image_size"][0]) // int(facts["patch_size"])


def _patches(facts: Facts, size: Size) -> Cost:
    if not facts.get("image_size"):  # a recipe of one's own may state the rows alone
        return Cost(rows=int(facts["image_tokens"]))
    return Cost(rows=_side(facts) ** 2)


def _pooled(facts: Facts, size: Size) -> Cost:
    return Cost(rows=math.ceil(_side(facts) / 2) ** 2)


def _fixed(rows: int) -> Callable[[Facts, Size], Cost]:
    return lambda facts, size: Cost(rows=rows)


def _video(family: str, facts: Facts, frames: int) -> Cost:
    if family == "video_neva":
        return Cost(rows=frames * _side(facts) ** 2)
    # LLaVA-OneVision pools each frame and ends the video with a newline.
    return Cost(rows=frames * math.ceil(_side(facts) / 2) ** 2 + 1, items=frames)


def _best(size: Size, resolutions: list[Size]) -> Size:
    """Return the resolution that keeps most of a picture and wastes least."""
    height, width = size

    def score(resolution: Size) -> tuple[int, int]:
        scale = min(resolution[0] / height, resolution[1] / width)
        kept = min(int(height * scale) * int(width * scale), height * width)
        return kept, kept - resolution[0] * resolution[1]

    return max(resolutions, key=score)


def _unpadded(size: Size, grid: Size) -> Size:
    """Return a grid of patches without the rows or columns that only pad the picture."""
    (height, width), (rows, columns) = size, grid
    if width / height > columns / rows:
        return rows - 2 * ((rows - int(height * columns / width)) // 2), columns
    return rows, columns - 2 * ((columns - int(width * rows / height)) // 2)


def _llava_next(facts: Facts, size: Size) -> Cost:
    tile, side = int(facts["image_size"][0]), _side(facts)
    known = [(336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008)]
    found = [(p[0], p[1]) for p in facts.get("image_grid_pinpoints") or known]
    seen = _best(size, found)
    # The runner takes the processor's (height, width) for (width, height); its own resolutions
    # are (width, height), the processor's are not.
    grid = _best((size[1], size[0]), [(width, height) for height, width in known])
    rows, columns = _unpadded((size[1], size[0]), (grid[0] // tile * side, grid[1] // tile * side))
    tiles = seen[0] // tile * (seen[1] // tile)
    return Cost(rows=side**2 + rows * (columns + 1), items=1 + tiles)


def _llava_onevision(facts: Facts, size: Size) -> Cost:
    tile, side = int(facts["image_size"][0]), _side(facts)
    most = range(tile, 6 * tile + 1, tile)
    grid = _best(size, [(height, width) for height in most for width in most])
    rows, columns = _unpadded(size, (grid[0] // tile * side, grid[1] // tile * side))
    ratio = math.sqrt(rows * columns / (9 * side**2))
    if ratio > 1.1:
        rows, columns = int(rows // ratio), int(columns // ratio)
    tiles = grid[0] // tile * (grid[1] // tile)
    return Cost(rows=side**2 + rows * (columns + 1), items=1 + tiles)


def _fuyu(facts: Facts, size: Size) -> Cost:
    height, width = size
    scale = min(1.0, 1080 / height, 1920 / width)
    rows, columns = math.ceil(int(height * scale) / 30), math.ceil(int(width * scale) / 30)
    return Cost(rows=rows * columns, marks=rows)


def _phi3(facts: Facts, size: Size) -> Cost:
    """At most 16 crops, 144 tokens each; a newline ends each of 12 lines of a row of crops."""
    short, long = sorted(size)
    ratio, crops = long / short, 1
    while crops * math.ceil(crops / ratio) <= 16:
        crops += 1
    along = crops - 1
    across = math.ceil(int(along * 336 / ratio) / 336)
    rows = across if size[1] >= size[0] else along
    return Cost(rows=(along * across + 1) * 144 + 1 + (rows + 1) * 12, items=along * across + 1)


def _phi4(facts: Facts, size: Size) -> Cost:
    """At most 36 crops of 448; the mask leaves out patches of 14 that are padding alone."""
    high, wide = (math.ceil(side / 448) for side in size)
    if high * wide > 36:
        high, wide = _closest(size)
    scale = min(high * 448 / size[0], wide * 448 / size[1])
    is_wide = wide * 448 / size[1] < high * 448 / size[0]
    rows, columns = high * 32, wide * 32
    if is_wide:
        rows -= (high * 448 - int(size[0] * scale)) // 14
    else:
        columns -= (wide * 448 - int(size[1] * scale)) // 14
    patches = math.ceil(rows / 2) * (math.ceil(columns / 2) + 1)
    return Cost(rows=patches + 1 + 16 * 17, items=high * wide + 1)


def _closest(size: Size) -> Size:
    """Return (rows, columns) of at most 36 crops whose ratio is nearest to the picture's."""
    ratios = sorted(
        {(w, h) for w in range(1, 37) for h in range(1, 37) if w * h <= 36},
        key=lambda ratio: ratio[0] * ratio[1],
    )
    best, least = (1, 1), math.inf
    for wide, high in ratios:
        difference = abs(size[1] / size[0] - wide / high)
        fills = size[0] * size[1] > 0.5 * 448 * 448 * wide * high
        if difference < least or (difference == least and fills):
            best, least = (high, wide), difference
    return best


def _nougat(facts: Facts, size: Size) -> Cost:
    height, width = facts["image_size"]
    return Cost(encoder_tokens=height // 32 * (width // 32))  # Swin halves four times after 4 x 4


COSTS: dict[str, Callable[[Facts, Size], Cost]] = {
    "blip2": _fixed(32),  # queries of the Q-Former
    "cogvlm": lambda facts, size: replace(_patches(facts, size), rows=_side(facts) ** 2 + 2),
    "deplot": lambda facts, size: Cost(encoder_tokens=int(facts["max_patches"])),
    "fuyu": _fuyu,
    "gemma3": _fixed(256),
    "internlm_xcomposer2": _patches,
    "internvl2": _fixed(256),  # the runner shows one tile, whatever the picture
    "kosmos2": _fixed(64),
    "llava": _patches,
    "llava_next": _llava_next,
    "llava_onevision": _llava_onevision,
    "mllama": lambda facts, size: Cost(encoder_tokens=4 * (_side(facts) ** 2 + 1)),
    "neva": _patches,
    "nougat": _nougat,
    "phi3_vision": _phi3,
    "phi4_multimodal": _phi4,
    "qwen2_vl": lambda facts, size: Cost(rows=18 * 18, items=36 * 36),  # scaled to 504 x 504
    "vila": _pooled,
}
"""Family -> the cost of one picture of (height, width)."""
