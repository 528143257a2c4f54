"""Phi-4-multimodal's image preprocessing without torchvision, which transformers asks for.

The steps of ``Phi4MultimodalImageProcessor`` with torch's own resampling, which is what torchvision
calls for tensors. Only its defaults are known: crops of 448 pixels, patches of 14.

Source: transformers 5.23, image_processing_phi4_multimodal.py; torchvision 0.23,
transforms/v2/functional/_geometry.py (resize of uint8 tensors, pad).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import interpolate, pad

CROP_PX = 448
PATCH_PX = 14
MASK_SIDE = CROP_PX // PATCH_PX
MOST_CROPS = 36

_MEAN = _STD = 0.5
_WHITE = 255
_LEAST_PX = 10


def preprocess(images: Sequence[Any]) -> dict[str, torch.Tensor]:
    """Return the tensors of PIL images.

    Returns:
        ``image_pixel_values`` float32 ``[N, crops, 3, 448, 448]``, the first of which is the
        overview; ``image_sizes`` int64 ``[N, 2]``, height and width of all crops together;
        ``image_attention_mask`` float32 ``[N, crops, 32, 32]``; ``num_img_tokens`` int64 ``[N]``.
        Pictures with fewer crops are padded.
    """
    made = [_one(image) for image in images]
    most = max(len(crops) for crops, _, _ in made)
    return {
        "image_pixel_values": torch.stack([_padded(crops, most, 0) for crops, _, _ in made]),
        "image_sizes": torch.tensor([size for _, _, size in made]),
        "image_attention_mask": torch.stack([_padded(masks, most, 1) for _, masks, _ in made]),
        "num_img_tokens": torch.tensor([_tokens(masks, size) for _, masks, size in made]),
    }


def _padded(planes: torch.Tensor, count: int, value: int) -> torch.Tensor:
    missing = count - len(planes)
    return torch.cat([planes, planes.new_full((missing, *planes.shape[1:]), value)])


def _one(image: Any) -> tuple[torch.Tensor, torch.Tensor, tuple[int, int]]:
    """Return crops with the overview first, their masks, and the size of all crops together."""
    import numpy as np

    pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    whole, mask = _fit(pixels)
    scaled = (whole.float() / 255 - _MEAN) / _STD
    overview = interpolate(scaled[None], (CROP_PX, CROP_PX), mode="bicubic", align_corners=False)
    height, width = scaled.shape[-2:]
    rows, columns = height // CROP_PX, width // CROP_PX
    crops = scaled.reshape(3, rows, CROP_PX, columns, CROP_PX).permute(1, 3, 0, 2, 4)
    masks = mask.reshape(rows, MASK_SIDE, columns, MASK_SIDE).transpose(1, 2)
    first = torch.ones((1, MASK_SIDE, MASK_SIDE))
    return (
        torch.cat([overview, crops.reshape(-1, 3, CROP_PX, CROP_PX)]),
        torch.cat([first, masks.reshape(-1, MASK_SIDE, MASK_SIDE)]),
        (height, width),
    )


def _fit(pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Resize and pad uint8 ``[3, H, W]`` to a grid of crops; the mask is 0 for patches of padding.

    Raises:
        ValueError: if the picture is too narrow.
    """
    high, wide = pixels.shape[-2:]
    columns, rows = math.ceil(wide / CROP_PX), math.ceil(high / CROP_PX)
    if columns * rows > MOST_CROPS:
        columns, rows = _closest(wide, high)
    width, height = CROP_PX * columns, CROP_PX * rows
    by_width, by_height = width / wide, height / high
    right = bottom = 0
    if by_width < by_height:
        new = (int(high * by_width), width)
        bottom = height - new[0]
    else:
        new = (height, int(wide * by_height))
        right = width - new[1]
    if min(new) < _LEAST_PX:
        raise ValueError(f"a picture of {wide}x{high} pixels is too narrow")
    mask = torch.ones((MASK_SIDE * rows, MASK_SIDE * columns))
    if right >= PATCH_PX:
        mask[:, -(right // PATCH_PX) :] = 0
    if bottom >= PATCH_PX:
        mask[-(bottom // PATCH_PX) :, :] = 0
    if new != (high, wide):
        pixels = interpolate(
            pixels[None], new, mode="bilinear", align_corners=False, antialias=True
        )[0]
    return pad(pixels, (0, right, 0, bottom), value=_WHITE), mask


def _closest(wide: int, high: int) -> tuple[int, int]:
    """Return columns and rows of the grid nearest in aspect; of equals a larger while it fills."""
    grids = {
        (i, j)
        for n in range(1, MOST_CROPS + 1)
        for i in range(1, n + 1)
        for j in range(1, n + 1)
        if i * j <= MOST_CROPS
    }
    best, best_off = (1, 1), math.inf
    # The set first, sorted by area alone: of equal areas transformers takes what comes first.
    for grid in sorted(grids, key=lambda each: each[0] * each[1]):
        off = abs(wide / high - grid[0] / grid[1])
        if off < best_off:
            best, best_off = grid, off
        elif off == best_off and wide * high > 0.5 * CROP_PX**2 * grid[0] * grid[1]:
            best = grid
    return best


def _tokens(masks: torch.Tensor, size: tuple[int, int]) -> int:
    """Return the rows of one picture: overview and separator, patches left, and line ends."""
    rows, columns = size[0] // CROP_PX, size[1] // CROP_PX
    half = masks[1:, ::2, ::2]
    side = half.shape[-1]
    grid = half.reshape(rows, columns, side, side).transpose(1, 2).reshape(rows * side, -1)
    return side**2 + 1 + int(grid.sum()) + int(grid[:, 0].sum()) + side
