"""Families that keep a picture near its own resolution: Fuyu and Qwen2-VL."""

from __future__ import annotations

import math

from mmtrt.sizing.features.cost import ImageCost, MissingFact, Pair, View, VisionShape, needed

MAX_PATCH_ROWS = 5184
"""``--max_hw_dims`` of ``build_multimodal_engine.py``: patch rows for one ``--max_batch_size``."""
FRAMES_PER_STEP = 2
"""``temporal_patch_size``: frames of a video that become one row of patches."""
LONGEST_ASPECT = 200
"""Qwen2-VL's processor refuses pictures longer than this many times their width."""


def fuyu(shape: VisionShape, view: View) -> ImageCost:
    """Count a Fuyu picture: patches of 30 pixels, each row ended by a newline token.

    The newlines are tokens of the prompt, not rows of the table: the runner fills the table with
    the patches alone. Only a picture larger than 1080 x 1920 is shrunk.

    Source: TensorRT-LLM 1.2 ``ptuning_setup_fuyu``; transformers ``FuyuImageProcessor`` and
    ``FuyuProcessor``.
    """
    if shape.image_size is None:
        raise MissingFact("fuyu", "image_size")
    patch = needed(shape.patch_size, "fuyu", "patch_size")
    most_high, most_wide = shape.image_size
    if view.size is None:
        (height, width), prefix = shape.image_size, "worst picture: "
    else:
        (height, width), prefix = view.size, ""
        if height > most_high or width > most_wide:
            scale = min(most_high / height, most_wide / width)
            height, width = int(height * scale), int(width * scale)
    rows, columns = math.ceil(height / patch), math.ceil(width / patch)
    return ImageCost(
        features=rows * columns,
        tiles=1,
        because=f"{prefix}{rows} x {columns} patches; {rows} row ends in the prompt",
        marks=rows,
        is_worst=bool(prefix),
    )


def qwen2_vl(shape: VisionShape, view: View) -> ImageCost:
    """Count a Qwen2-VL picture: squares of 2 x 2 patches of 14 pixels; or a video.

    TensorRT-LLM's ``run.py`` resizes every picture to 504 x 504, the ``image_size`` of the facts,
    and takes no videos; Hugging Face keeps the aspect of a picture or a frame and bounds its
    pixels. Two frames of a video are one step in time, an odd last one is repeated; ``image_size``
    is then that of a frame. The vision engine counts patch rows: ``vision.max_batch_size x 5184``
    of them.

    Source: TensorRT-LLM 1.2 ``load_test_data`` and ``multimodal_builder.py``; transformers
    ``smart_resize`` and ``Qwen2VLVideoProcessor.get_num_of_video_patches``.
    """
    patch = needed(shape.patch_size, "qwen2_vl", "patch_size")
    merge = needed(shape.spatial_merge_size, "qwen2_vl", "spatial_merge_size")
    step = patch * merge
    steps = 1 if view.frames is None else -(-view.frames // FRAMES_PER_STEP)
    if view.flavour == "trtllm":
        steps = 1
        if shape.image_size is None:
            raise MissingFact("qwen2_vl", "image_size")
        height, width = shape.image_size
        because = f"run.py makes it {height} x {width}: ({height}/{step}) x ({width}/{step})"
        features = (height // step) * (width // step)
    else:
        shown = "picture" if view.frames is None else "frame"
        least = needed(shape.min_pixels, "qwen2_vl", "min_pixels")
        most = needed(shape.max_pixels, "qwen2_vl", "max_pixels")
        if view.size is None:
            features = max(most // step**2, math.isqrt(LONGEST_ASPECT * most) // step)
            because = f"worst {shown}: {most} pixels in squares of {step}"
        else:
            height, width = smart_size(view.size, step, least, most)
            features = (height // step) * (width // step)
            because = f"resized to {height} x {width}: ({height}/{step}) x ({width}/{step})"
    if steps > 1:
        because = f"{view.frames} frames in {steps} steps, {because}"
    return ImageCost(
        features=steps * features,
        tiles=steps * features * merge**2,
        because=because,
        unit="patch row",
        tiles_per_slot=MAX_PATCH_ROWS,
        is_worst=view.size is None and view.flavour == "hf",
    )


def is_too_long(image_size: Pair) -> bool:
    """Return whether the processor refuses a picture for its shape."""
    return max(image_size) > LONGEST_ASPECT * min(image_size)


def smart_size(image_size: Pair, step: int, least: int, most: int) -> Pair:
    """Return (height, width), multiples of ``step``, of between ``least`` and ``most`` pixels.

    Pictures longer than 200 times their width, which the processor refuses, are sized likewise.

    Source: transformers ``image_processing_qwen2_vl.smart_resize``.
    """
    height, width = image_size
    tall, wide = round(height / step) * step, round(width / step) * step
    if tall * wide > most:
        shrink = math.sqrt(height * width / most)
        tall = max(step, math.floor(height / shrink / step) * step)
        wide = max(step, math.floor(width / shrink / step) * step)
    elif tall * wide < least:
        grow = math.sqrt(least / (height * width))
        tall = math.ceil(height * grow / step) * step
        wide = math.ceil(width * grow / step) * step
    return tall, wide
