"""How many visual features a picture or a video costs, by family.

A visual feature is one row of the prompt-embedding table and one placeholder token of the prompt.
Pure arithmetic: no torch, no file is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from mmtrt.sizing.features.any_resolution import llava_next, llava_onevision
from mmtrt.sizing.features.audio import audio_features
from mmtrt.sizing.features.cost import (
    Flavour,
    ImageCost,
    MissingFact,
    UnknownFamily,
    View,
    VisionShape,
)
from mmtrt.sizing.features.cross_attention import deplot, mllama, nougat
from mmtrt.sizing.features.fixed import fixed
from mmtrt.sizing.features.native_resolution import fuyu, qwen2_vl
from mmtrt.sizing.features.tiled import internvl2, phi3_vision, phi4_multimodal
from mmtrt.sizing.features.video import video_neva

__all__ = [
    "CALCULATORS",
    "Flavour",
    "ImageCost",
    "MissingFact",
    "UnknownFamily",
    "VisionShape",
    "audio_features",
    "image_cost",
]

CALCULATORS: dict[str, Callable[[VisionShape, View], ImageCost]] = {
    "blip2": fixed("blip2"),
    "cogvlm": fixed("cogvlm"),
    "deplot": deplot,
    "fuyu": fuyu,
    "gemma3": fixed("gemma3"),
    "internlm_xcomposer2": fixed("internlm_xcomposer2"),
    "internvl2": internvl2,
    "kosmos2": fixed("kosmos2"),
    "llava": fixed("llava"),
    "llava_next": llava_next,
    "llava_onevision": llava_onevision,
    "mllama": mllama,
    "neva": fixed("neva"),
    "nougat": nougat,
    "phi3_vision": phi3_vision,
    "phi4_multimodal": phi4_multimodal,
    "qwen2_vl": qwen2_vl,
    "video_neva": video_neva,
    "vila": fixed("vila"),
}


def image_cost(
    family: str,
    shape: VisionShape,
    image_size: Sequence[int] | None,
    *,
    images: int = 1,
    frames: int | None = None,
    flavour: Flavour = "trtllm",
) -> ImageCost:
    """Return the cost of one picture, or of one video.

    Args:
        family: a key of :data:`CALCULATORS`, or any other if ``shape`` states ``image_tokens``.
        shape: numbers of the model.
        image_size: (height, width) of the picture in pixels; ``None`` means the worst case.
        images: pictures of the request that this one is part of.
        frames: frames of a video; where the family takes videos, one is counted, and a picture
            only if ``image_size`` is given too (the dearer of both decides).
        flavour: whose arithmetic.

    Raises:
        UnknownFamily: if no calculator is known.
        MissingFact: if ``shape`` lacks a number that the family needs.
    """
    if family not in CALCULATORS and shape.image_tokens is None:
        raise UnknownFamily(family)
    size = None if image_size is None else (int(image_size[0]), int(image_size[1]))
    return _cost(family, shape, View(size, images, frames, flavour))


@lru_cache(maxsize=1024)
def _cost(family: str, shape: VisionShape, view: View) -> ImageCost:
    # A family that nobody wrote a calculator for may state what a picture costs.
    calculate = CALCULATORS.get(family) or fixed(family)
    return calculate(shape, view)
