"""Families whose language model attends across to the vision encoder's rows: no prompt table."""

from __future__ import annotations

from mmtrt.sizing.features.cost import (
    ImageCost,
    MissingFact,
    Pair,
    View,
    VisionShape,
    needed,
    side,
)

SWIN_MERGES = 3
"""Stages of Nougat's Swin encoder after the first; each halves the grid."""


def swin_grid(size: Pair, patch: int, merges: int = SWIN_MERGES) -> Pair:
    """Return rows and columns of a Swin encoder's last grid, for a picture of (height, width).

    Patches and halves that are not whole are padded to whole ones.

    Source: transformers 5.23 ``DonutSwinPatchEmbeddings.maybe_pad`` and ``DonutSwinStage``.
    """
    height, width = (-(-side // patch) for side in size)
    for _ in range(merges):
        height, width = (height + 1) // 2, (width + 1) // 2
    return height, width


def deplot(shape: VisionShape, view: View) -> ImageCost:
    """Count a Pix2Struct picture: padded to ``max_patches`` rows, whatever its size.

    Source: transformers ``Pix2StructImageProcessor.extract_flattened_patches``; TensorRT-LLM 1.2
    README, Deplot section (2048).
    """
    rows = needed(shape.max_patches, "deplot", "max_patches")
    return ImageCost(0, 1, f"padded to {rows} patches", encoder_tokens=rows)


def nougat(shape: VisionShape, view: View) -> ImageCost:
    """Count a Nougat page: a Swin grid of one row for each 32 x 32 pixels.

    Source: ``preprocessor_config.json`` (896 x 672) and ``config.json`` (patches of 4 pixels, four
    stages) of facebook/nougat-base; TensorRT-LLM 1.2 README, Nougat section (588).
    """
    if shape.image_tokens is not None:
        rows = shape.image_tokens
        return ImageCost(0, 1, f"{rows} whatever the page", encoder_tokens=rows)
    if shape.image_size is None:
        raise MissingFact("nougat", "image_size")
    patch = needed(shape.patch_size, "nougat", "patch_size")
    height, width = shape.image_size
    rows, columns = swin_grid(shape.image_size, patch)
    stride = patch * 2**SWIN_MERGES
    return ImageCost(
        features=0,
        tiles=1,
        because=f"({height}/{stride}) x ({width}/{stride}) windows",
        encoder_tokens=rows * columns,
    )


def mllama(shape: VisionShape, view: View) -> ImageCost:
    """Count an MLLaMA picture: always padded to four tiles, each with a class token.

    The vision engine's batch axis counts pictures; their tiles are an axis of their own.

    Source: transformers ``MllamaImageProcessor`` (``pack_images``) and ``MllamaVisionModel``;
    TensorRT-LLM 1.2 README, MLLaMA section (4100 at 448 pixels, 6404 at 560).
    """
    edge = side(shape, "mllama") // needed(shape.patch_size, "mllama", "patch_size")
    tiles = needed(shape.max_tiles, "mllama", "max_tiles")
    return ImageCost(
        features=0,
        tiles=1,
        because=f"{tiles} tiles x ({edge} x {edge} patches + 1 class token)",
        encoder_tokens=tiles * (edge**2 + 1),
    )
