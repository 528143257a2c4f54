"""Families whose every picture becomes one square of a fixed number of features."""

from __future__ import annotations

from collections.abc import Callable

from mmtrt.sizing.features.cost import ImageCost, MissingFact, View, VisionShape, needed


def fixed(family: str) -> Callable[[VisionShape, View], ImageCost]:
    """Return the calculator of a family that resizes every picture to one shape.

    The number is ``image_tokens`` where the model states it (queries of a resampler, a projector
    that pools), else the patches of the encoder's grid; the class token is dropped.

    Source: TensorRT-LLM 1.2 multimodal README: blip2 32 Q-Former queries, cogvlm a budget of 1280
    (its runner uses 1 + 35 x 35 + 1 = 1227), internlm-xcomposer2 (490 / 14)^2 = 1225, kosmos-2 64,
    llava (336 / 14)^2 = 576, neva (384 / 14)^2 = 729, vila 196. gemma3: ``mm_tokens_per_image`` of
    its ``config.json``, 256 (without pan and scan, which is off in its
    ``preprocessor_config.json``).
    """

    def calculate(shape: VisionShape, view: View) -> ImageCost:
        if shape.image_tokens is not None:
            return ImageCost(shape.image_tokens, 1, f"{shape.image_tokens} whatever the picture")
        if shape.image_size is None:
            raise MissingFact(family, "image_size")
        patch = needed(shape.patch_size, family, "patch_size")
        height, width = shape.image_size
        return ImageCost(
            features=(height // patch) * (width // patch),
            tiles=1,
            because=f"({height}/{patch}) x ({width}/{patch}) patches",
        )

    return calculate
