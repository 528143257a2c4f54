"""LLaVA 1.5 and LLaVA-Interleave: CLIP or SigLIP, a projector, and a language model like Llama.

Source: transformers 5.23, models/llava (modeling and processing).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from mmtrt.native.engine_config import EngineConfig
from mmtrt.native.errors import NativeError
from mmtrt.native.families.hf_family import HfFamily, Parts
from mmtrt.native.families.hf_frontend import HfFrontend
from mmtrt.native.frontend import Frontend
from mmtrt.native.graph import Graph
from mmtrt.native.hf_model import read_config

_TEXT_TYPES = ("llama", "mistral", "qwen2")
_VISION_TYPES = {"clip_vision_model": 1, "siglip_vision_model": 0}
"""Towers, and the rows that each has before those of the patches."""


class LlavaFrontend(HfFrontend):
    """See ``Frontend``."""

    processor_class = "LlavaProcessor"
    # Source: llava-hf/llava-1.5-7b-hf model card, "How to use the model".
    template = "USER: {images}{text} ASSISTANT:"

    def pixels(self, shown: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the pictures, which must have the size that the tower was built for."""
        pixels = super().pixels(shown)
        side = self.config.vision_config.image_size
        found = pixels["pixels"].shape[2:]
        if found != (side, side):
            raise NativeError(
                f"the preprocessing gives {found[0]}x{found[1]} pixels, the vision engine takes "
                f"{side}x{side}",
                code="RUN216",
                fix="give --model-dir the model that the engines were built from",
            )
        return pixels


class Llava(HfFamily):
    """See ``Family``."""

    name = "llava"
    model_class = "LlavaForConditionalGeneration"
    plain_text: ClassVar[bool] = True
    parts: ClassVar[Parts] = {
        "vision": ("model.vision_tower.", "model.multi_modal_projector."),
        "llm": ("model.language_model.", "lm_head."),
    }

    def check_supported(self, config: Any) -> None:
        """Refuse towers and language models that were not tried."""
        for part, supported in (("text_config", _TEXT_TYPES), ("vision_config", _VISION_TYPES)):
            kind = getattr(config, part).model_type
            if kind not in supported:
                raise NativeError(
                    f"{part}.model_type {kind!r} is not supported for {self.name}",
                    code="MDL208",
                    why=f"the native toolchain was tested with: {', '.join(supported)}",
                )

    def rows_per_image(self, config: Any) -> int:
        """Return the patches; ``default`` drops the first row, which is that of the class."""
        vision = config.vision_config
        before = _VISION_TYPES[vision.model_type]
        dropped = int(config.vision_feature_select_strategy == "default")
        return (vision.image_size // vision.patch_size) ** 2 + before - dropped

    def image_size(self, config: Any) -> tuple[int, int]:
        """Return the size that every picture is brought to."""
        side = config.vision_config.image_size
        return side, side

    def vision_graph(self, model: Any) -> Graph:
        """Return the encoder of pictures."""
        from mmtrt.native.families.tower import TowerEncoder
        from mmtrt.native.pixel_graph import pixel_graph

        return pixel_graph(TowerEncoder(model.model), *self.image_size(model.config))

    def frontend(self, model_dir: Path, llm: EngineConfig, vision: EngineConfig) -> Frontend:
        """See ``Family.frontend``."""
        return LlavaFrontend(self.config(read_config(model_dir)), model_dir, llm)


FAMILY = Llava()
