"""LLaVA-NeXT and LLaVA-OneVision: one overview tile and the best-fitting grid of tiles.

Each row of the grid ends with a newline feature; rows or columns that only pad are cut off.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace

from mmtrt.sizing.features.cost import (
    ImageCost,
    MissingFact,
    Pair,
    View,
    VisionShape,
    needed,
    side,
)

SHRINK_ABOVE = 1.1
"""LLaVA-OneVision shrinks a grid whose side exceeds that of ``max_tiles`` tiles by this factor."""


def llava_next(shape: VisionShape, view: View) -> ImageCost:
    """Count a LLaVA-NeXT picture.

    The flavours differ for every picture that is no square. The runner hands the processor's
    (height, width) to functions that take (width, height): it lays the grid out on its side, and
    so ends each column instead of each row with a newline. It also computes in float32 and rounds
    the unpadded side down, where Hugging Face first rounds it to seven digits.

    Source: TensorRT-LLM 1.2 ``multimodal_model_runner.py`` (``LlavaNextUtils``; ``image_size =
    input['image_sizes'][0]``); transformers ``LlavaNextProcessor._get_number_of_features``.
    """
    tile = side(shape, "llava_next")
    patches = tile // needed(shape.patch_size, "llava_next", "patch_size")
    points = _resolutions(shape, "llava_next")
    runner = view.flavour == "trtllm"

    def turned(pair: Pair) -> Pair:
        return (pair[1], pair[0]) if runner else pair

    def grid(size: Pair) -> tuple[int, int, int]:
        point = _best_resolution(turned(size), points, single=runner)
        whole = turned(_grid(point, tile, patches))
        return *_unpadded(size, *whole, exact=runner, single=runner), _tiles(point, tile)

    if view.size is not None:
        return _cost(patches**2, *grid(turned(view.size)))
    wholes = {turned(_grid(point, tile, patches)) for point in points}
    rows, columns = _dearest(wholes, tile, patches, grid)
    tiles = max(_tiles(point, tile) for point in points)
    return _cost(patches**2, rows, columns, tiles, "worst picture: ")


def llava_onevision(shape: VisionShape, view: View) -> ImageCost:
    """Count a LLaVA-OneVision picture, video, or the dearer of both.

    A grid larger than ``max_tiles`` tiles (``anyres_max_9``) is shrunk to that many features. Of
    several pictures none is cut: each is one tile and a newline. A video frame is pooled by two;
    the video ends with one newline.

    The flavours differ for few pictures. The runner reads the list of resolutions as (width,
    height), so that of two which fit equally well it takes the other one; it computes in float32
    and rounds the unpadded side down, where Hugging Face first rounds it to seven digits.

    Source: TensorRT-LLM 1.2 ``multimodal_model_runner.py`` (``LlavaOnevisionUtils``); transformers
    ``LlavaOnevisionProcessor`` (``_get_number_of_features``, ``replace_image_token``,
    ``replace_video_token``).
    """
    tile = side(shape, "llava_onevision")
    patches = tile // needed(shape.patch_size, "llava_onevision", "patch_size")
    costs = []
    if view.frames is not None:
        costs.append(_video(view.frames, shape.frame_tokens or math.ceil(patches / 2) ** 2))
    if view.size is not None or view.frames is None:
        costs.append(_onevision_picture(shape, view, tile, patches))
    dear = max(costs, key=lambda cost: cost.features)
    most = max(costs, key=lambda cost: cost.tiles)
    return replace(dear, tiles=most.tiles, unit=most.unit)


def _video(frames: int, frame_tokens: int) -> ImageCost:
    return ImageCost(
        features=frames * frame_tokens + 1,
        tiles=frames,
        because=f"{frames} frames x {frame_tokens} + 1 newline",
        unit="frame",
    )


def _onevision_picture(shape: VisionShape, view: View, tile: int, patches: int) -> ImageCost:
    overview = patches**2
    if view.images > 1:
        because = f"{overview} + 1 newline: one of several is not cut"
        return ImageCost(overview + 1, 1, because, unit="image tile")
    points = _resolutions(shape, "llava_onevision")
    limit = needed(shape.max_tiles, "llava_onevision", "max_tiles") * overview
    runner = view.flavour == "trtllm"
    if runner:
        points = tuple((width, height) for height, width in points)

    def grid(size: Pair) -> tuple[int, int, int]:
        point = _best_resolution(size, points)
        whole = _grid(point, tile, patches)
        rows, columns = _unpadded(size, *whole, exact=runner, single=runner)
        return *_shrunk(rows, columns, limit), _tiles(point, tile)

    if view.size is not None:
        return _cost(overview, *grid(view.size))
    wholes = {_grid(point, tile, patches) for point in points}
    rows, columns = _dearest(wholes | set(_unshrunk(wholes, limit)), tile, patches, grid)
    tiles = max(_tiles(point, tile) for point in points)
    return _cost(overview, rows, columns, tiles, "worst picture: ")


def _dearest(
    candidates: set[Pair],
    tile: int,
    patches: int,
    grid: Callable[[Pair], tuple[int, int, int]],
) -> Pair:
    """Return the costliest grid that some picture reaches.

    Tries a picture that just fills each candidate, dearest first, until no other can cost more:
    a candidate may be out of reach because a smaller resolution fits its picture as well.
    """

    def cost(rows: int, columns: int) -> int:
        return rows * (columns + 1)

    best = (0, 0)
    for rows, columns in sorted(candidates, key=lambda each: cost(*each), reverse=True):
        if cost(rows, columns) <= cost(*best):
            break
        picture = rows * tile // patches, columns * tile // patches
        reached = grid(picture)[:2]
        best = max(best, reached, key=lambda each: cost(*each))
    return best


def _unshrunk(wholes: set[Pair], limit: int) -> Iterator[Pair]:
    """Yield of each grid the largest parts that are not shrunk.

    Padding is cut off in pairs and from one direction, and less of it costs more; so of all
    pictures of one resolution these are the costliest but for shrunk ones, which keep to ``limit``.
    """
    for rows, columns in wholes:
        yield _kept(rows, columns, limit), columns
        yield rows, _kept(columns, rows, limit)


def _kept(cut: int, across: int, limit: int) -> int:
    """Return how much of the side ``cut`` may stay for the grid not to be shrunk; 0 for none."""
    fits = (n for n in range(cut, 0, -2) if math.sqrt(n * across / limit) <= SHRINK_ABOVE)
    return next(fits, 0)


def _shrunk(rows: int, columns: int, limit: int) -> Pair:
    """Return the grid after shrinking to about ``limit`` features."""
    ratio = math.sqrt(rows * columns / limit)
    if ratio > SHRINK_ABOVE:
        return int(rows // ratio), int(columns // ratio)
    return rows, columns


def _cost(overview: int, rows: int, columns: int, tiles: int, prefix: str = "") -> ImageCost:
    return ImageCost(
        features=overview + rows * (columns + 1),
        tiles=tiles + 1,
        because=f"{prefix}{overview} overview + {rows} rows x ({columns} + 1 newline)",
        unit="image tile",
        is_worst=bool(prefix),
    )


def _grid(point: Pair, tile: int, patches: int) -> Pair:
    return point[0] // tile * patches, point[1] // tile * patches


def _tiles(point: Pair, tile: int) -> int:
    return (point[0] // tile) * (point[1] // tile)


def _resolutions(shape: VisionShape, family: str) -> tuple[Pair, ...]:
    """Return the resolutions as (height, width), in the order in which they are tried."""
    if not shape.pinpoints:
        raise MissingFact(family, "image_grid_pinpoints")
    return shape.pinpoints


def _best_resolution(image_size: Pair, points: tuple[Pair, ...], *, single: bool = False) -> Pair:
    """Return the resolution that keeps most of the picture, then wastes least.

    Args:
        image_size: (height, width) of the picture.
        points: (height, width) of the resolutions; of equals the first is taken.
        single: whether the picture's sides are torch scalars, which compute in float32.

    Source: transformers ``image_processing_utils.select_best_resolution``, of which the runner has
    a copy.
    """
    height, width = image_size
    best, best_kept, best_wasted = points[0], -1, 0
    for point in points:
        if single:
            scale = min(_ratio(point[1], width), _ratio(point[0], height))
            fitted = int(_single(width * scale)) * int(_single(height * scale))
        else:
            scale = min(point[1] / width, point[0] / height)
            fitted = int(width * scale) * int(height * scale)
        kept = min(fitted, width * height)
        wasted = point[0] * point[1] - kept
        if kept > best_kept or (kept == best_kept and wasted < best_wasted):
            best, best_kept, best_wasted = point, kept, wasted
    return best


def _unpadded(
    image_size: Pair, rows: int, columns: int, *, exact: bool = False, single: bool = False
) -> Pair:
    """Return the grid without rows or columns that only hold padding.

    Args:
        image_size: (height, width) of the picture.
        rows: rows of the grid.
        columns: columns of the grid.
        exact: whether the fitted side is cut without rounding to seven digits first.
        single: whether the picture's sides are torch scalars, which compute in float32.
    """
    height, width = image_size
    number = _single if single else float

    def fitted(short: int, long: int, across: int) -> int:
        """Return what the shorter side becomes when the longer one fills the grid."""
        side = number(short * (_ratio(across, long) if single else across / long))
        return int(side if exact else round(side, 7))

    if number(width / height) > number(columns / rows):
        return rows - (rows - fitted(height, width, columns)) // 2 * 2, columns
    return rows, columns - (columns - fitted(width, height, rows)) // 2 * 2


def _ratio(number: int, scalar: int) -> float:
    """Divide a number by a torch scalar, which multiplies by its reciprocal."""
    return _single(number * _single(1 / scalar))


def _single(value: float) -> float:
    """Round to float32."""
    rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    return rounded
