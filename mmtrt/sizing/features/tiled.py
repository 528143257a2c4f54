"""Families that cut a picture into a grid of tiles of near its aspect: InternVL and Phi."""

from __future__ import annotations

import math
from functools import cache

from mmtrt.sizing.features.cost import ImageCost, Pair, View, VisionShape, needed, side


def internvl2(shape: VisionShape, view: View) -> ImageCost:
    """Count an InternVL2 picture: tiles, and a thumbnail where there is more than one.

    TensorRT-LLM's ``run.py`` sends one tile of 448 pixels whatever the picture; its README budgets
    13 x 256 rows, the model's own worst case, and so do both flavours here. The vision engine takes
    ``vision.max_batch_size x max_dynamic_patch`` tiles.

    Source: TensorRT-LLM 1.2 README, InternVL2 section; transformers ``GotOcr2ImageProcessor``
    (``get_optimal_tiled_canvas``) and ``InternVLProcessor``.
    """
    tile = side(shape, "internvl2")
    tokens = needed(shape.image_tokens, "internvl2", "image_tokens")
    most = needed(shape.max_tiles, "internvl2", "max_tiles")
    if view.size is None:
        tiles, prefix = most, "worst picture: "
    else:
        columns, rows = _closest(view.size, tile, _grids(most))
        tiles, prefix = columns * rows, ""
    shown = tiles + 1 if tiles > 1 else 1
    return ImageCost(
        features=shown * tokens,
        tiles=shown,
        because=f"{prefix}{tiles} tiles + 1 thumbnail, {tokens} each"
        if tiles > 1
        else f"1 tile of {tokens}",
        unit="image tile",
        tiles_per_slot=most,
        is_worst=bool(prefix),
    )


def phi3_vision(shape: VisionShape, view: View) -> ImageCost:
    """Count a Phi-3-vision picture: crops and an overview of 12 x 12, a newline a row.

    ``(rows x columns + 1) x 144 + 1 + (rows + 1) x 12``: the crops and the overview, the separator
    between them, and the newlines. PyTorch encodes the crops when a request comes: TensorRT-LLM
    builds no vision engine.

    Source: ``image_processing_phi3_v.py`` of microsoft/Phi-3-vision-128k-instruct
    (``calc_hd_transform_size``, ``padding_336``).
    """
    tile = side(shape, "phi3_vision")
    most = needed(shape.max_tiles, "phi3_vision", "max_tiles")
    if view.size is None:
        rows, columns, prefix = most, 1, "worst picture: "
    else:
        (rows, columns), prefix = _phi3_grid(view.size, tile, most), ""
    edge = tile // 28
    return ImageCost(
        features=(rows * columns + 1) * edge**2 + 1 + (rows + 1) * edge,
        tiles=rows * columns + 1,
        because=f"{prefix}({rows} x {columns} crops + overview) x {edge**2} + 1 separator + "
        f"{(rows + 1) * edge} newlines",
        unit="crop",
        is_worst=bool(prefix),
    )


def phi4_multimodal(shape: VisionShape, view: View) -> ImageCost:
    """Count a Phi-4-multimodal picture: unpadded crops and an overview of 16 x 16.

    PyTorch encodes the crops: TensorRT-LLM builds no vision engine.

    Source: transformers ``Phi4MultimodalImageProcessor.dynamic_preprocess``; the runner's
    ``PhiMMUtils.hd_feature_transform`` cuts by the same mask.
    """
    tile = side(shape, "phi4_multimodal")
    most = needed(shape.max_tiles, "phi4_multimodal", "max_tiles")
    patch = needed(shape.patch_size, "phi4_multimodal", "patch_size")
    edge = math.ceil(tile / patch / 2)
    if view.size is None:
        rows, columns, tiles, prefix = most * edge, edge, most, "worst picture: "
    else:
        rows, columns, tiles = _phi4_grid(view.size, tile, patch, most)
        prefix = ""
    overview = edge * (edge + 1)
    return ImageCost(
        features=rows * (columns + 1) + 1 + overview,
        tiles=tiles + 1,
        because=f"{prefix}{rows} rows x ({columns} + 1 newline) + 1 separator"
        f" + {overview} overview",
        unit="crop",
        is_worst=bool(prefix),
    )


def _phi3_grid(image_size: Pair, tile: int, most: int) -> Pair:
    """Return (rows, columns) of crops."""
    height, width = image_size
    long, short = max(height, width), min(height, width)
    ratio = long / short
    scale = 1
    while scale * math.ceil(scale / ratio) <= most:
        scale += 1
    scale -= 1
    across = math.ceil(int(scale * tile / ratio) / tile)
    return (scale, across) if width < height else (across, scale)


def _phi4_grid(image_size: Pair, tile: int, patch: int, most: int) -> tuple[int, int, int]:
    """Return rows and columns of features without padding, and the number of crops."""
    height, width = image_size
    columns, rows = math.ceil(width / tile), math.ceil(height / tile)
    if columns * rows > most:
        columns, rows = _closest(image_size, tile, _phi4_grids(most))
    wide, tall = tile * columns, tile * rows
    by_width, by_height = wide / width, tall / height
    pad_right = pad_bottom = 0
    if by_width < by_height:
        pad_bottom = tall - int(height * by_width)
    else:
        pad_right = wide - int(width * by_height)
    side_patches = tile // patch
    return (
        _unmasked(side_patches, rows, pad_bottom // patch),
        _unmasked(side_patches, columns, pad_right // patch),
        columns * rows,
    )


def _unmasked(patches: int, crops: int, masked: int) -> int:
    """Return the features of one direction, every other patch of each crop, that are no padding."""
    shown = patches * crops - masked
    whole, rest = divmod(shown, patches)
    return whole * math.ceil(patches / 2) + math.ceil(rest / 2)


@cache
def _grids(most: int) -> tuple[Pair, ...]:
    """Return every grid (columns, rows) of up to ``most`` tiles, smallest first."""
    sides = range(1, most + 1)
    every = [(columns, rows) for columns in sides for rows in sides if columns * rows <= most]
    return tuple(sorted(every, key=lambda grid: grid[0] * grid[1]))


@cache
def _phi4_grids(most: int) -> tuple[Pair, ...]:
    """Return the same grids in the order of Phi-4's processor, which sorts a set of them.

    Grids of one area come in the set's own order, and that decides between two that are equally
    close to a picture's aspect.
    """
    every = {
        (columns, rows)
        for n in range(1, most + 1)
        for columns in range(1, n + 1)
        for rows in range(1, n + 1)
        if columns * rows <= most
    }
    return tuple(sorted(every, key=lambda grid: grid[0] * grid[1]))


def _closest(image_size: Pair, tile: int, grids: tuple[Pair, ...]) -> Pair:
    """Return the grid (columns, rows) of the nearest aspect; of equals, the larger while it fills.

    Source: ``find_closest_aspect_ratio`` of InternVL and of Phi-4, ``get_optimal_tiled_canvas`` of
    transformers.
    """
    height, width = image_size
    aspect, area = width / height, width * height
    best, best_off = (1, 1), math.inf
    for columns, rows in grids:
        off = abs(aspect - columns / rows)
        if off < best_off:
            best, best_off = (columns, rows), off
        elif off == best_off and area > 0.5 * tile * tile * columns * rows:
            best = (columns, rows)
    return best
