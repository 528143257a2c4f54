"""How many visual features one picture costs, by family.

A visual feature is one row of the prompt-embedding table and one placeholder token of the prompt.
Pure arithmetic: no torch, no file is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImageCost:
    """What one picture costs."""

    features: int
    """Rows of the prompt-embedding table."""
    tiles: int
    """Items of the vision engine's batch axis."""
    because: str


@dataclass(frozen=True, slots=True)
class VisionShape:
    """The numbers of a model that its calculator reads."""

    image_size: tuple[int, int]
    """(height, width) in pixels that the vision encoder sees."""
    patch_size: int
    pinpoints: tuple[tuple[int, int], ...] = ()
    """(height, width) resolutions that an any-resolution model may choose."""


class UnknownFamily(KeyError):
    """No calculator is known for this family."""


def image_cost(family: str, shape: VisionShape, image_size: Sequence[int] | None) -> ImageCost:
    """Return the cost of one picture.

    Args:
        family: a key of :data:`CALCULATORS`.
        shape: numbers of the model.
        image_size: (height, width) of the picture in pixels; ``None`` means the worst case.

    Raises:
        UnknownFamily: if no calculator is known.
    """
    try:
        calculate = CALCULATORS[family]
    except KeyError:
        raise UnknownFamily(family) from None
    size = None if image_size is None else (int(image_size[0]), int(image_size[1]))
    return calculate(shape, size)


def _fixed_grid(shape: VisionShape, image_size: tuple[int, int] | None) -> ImageCost:
    """Count the patches of a picture that is always resized to one square.

    Source: TensorRT-LLM 1.2 multimodal README, LLaVA section: 576 at 336 px with patch 14; the
    class token is dropped by ``vision_feature_select_strategy=default``.
    """
    rows, columns = (side // shape.patch_size for side in shape.image_size)
    height, width = shape.image_size
    return ImageCost(
        features=rows * columns,
        tiles=1,
        because=f"({height}/{shape.patch_size}) x ({width}/{shape.patch_size}) patches",
    )


def _any_resolution(shape: VisionShape, image_size: tuple[int, int] | None) -> ImageCost:
    """Count a LLaVA-NeXT picture: one overview tile and the best-fitting grid of tiles.

    Each grid row ends with a newline feature; rows or columns that only pad are cut off.

    Source: TensorRT-LLM 1.2 ``MultimodalModelRunner`` and Hugging Face ``LlavaNextModel``
    (``select_best_resolution``, ``unpad_image``, ``pack_image_features``).
    """
    if image_size is None:
        sizes = _hardest_sizes(shape)
        worst = max((_any_resolution(shape, size) for size in sizes), key=lambda c: c.features)
        tiles = max(_grid_tiles(shape, point) for point in shape.pinpoints) + 1
        return ImageCost(worst.features, tiles, f"worst picture: {worst.because}")
    side = shape.image_size[0]
    base = (side // shape.patch_size) ** 2
    point = _best_resolution(image_size, shape.pinpoints)
    rows = point[0] // side * (side // shape.patch_size)
    columns = point[1] // side * (side // shape.patch_size)
    rows, columns = _unpadded(image_size, rows, columns)
    return ImageCost(
        features=base + rows * (columns + 1),
        tiles=_grid_tiles(shape, point) + 1,
        because=f"{base} overview + {rows} rows x ({columns} + 1 newline)",
    )


def _hardest_sizes(shape: VisionShape) -> list[tuple[int, int]]:
    """Return the pictures among which the costliest one is: those that fill a pinpoint exactly."""
    return list(shape.pinpoints)


def _grid_tiles(shape: VisionShape, point: tuple[int, int]) -> int:
    side = shape.image_size[0]
    return (point[0] // side) * (point[1] // side)


def _best_resolution(
    image_size: tuple[int, int], pinpoints: tuple[tuple[int, int], ...]
) -> tuple[int, int]:
    """Return the pinpoint that keeps most of the picture, then wastes least.

    Source: Hugging Face transformers ``image_processing_utils.select_best_resolution``.
    """
    height, width = image_size
    best, best_kept, best_wasted = pinpoints[0], -1, 0
    for point in pinpoints:
        scale = min(point[1] / width, point[0] / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        wasted = point[0] * point[1] - kept
        if kept > best_kept or (kept == best_kept and wasted < best_wasted):
            best, best_kept, best_wasted = point, kept, wasted
    return best


def _unpadded(image_size: tuple[int, int], rows: int, columns: int) -> tuple[int, int]:
    """Return the grid without rows or columns that only hold padding.

    Source: Hugging Face transformers ``LlavaNextProcessor._get_unpadded_features``.
    """
    height, width = image_size
    if width / height > columns / rows:
        fitted = round(height * (columns / width), 7)
        padding = (rows - int(fitted)) // 2
        return rows - 2 * padding, columns
    fitted = round(width * (rows / height), 7)
    padding = (columns - int(fitted)) // 2
    return rows, columns - 2 * padding


CALCULATORS: dict[str, Callable[[VisionShape, tuple[int, int] | None], ImageCost]] = {
    "llava": _fixed_grid,
    "llava_next": _any_resolution,
}
