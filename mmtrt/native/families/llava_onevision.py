"""LLaVA-OneVision: tiles as in LLaVA-NeXT, shrunk where there are too many; one of several whole.

Pictures only: transformers' video processors need torchvision.

Source: transformers 5.23, models/llava_onevision (modeling and processing).
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from transformers.models.llava_onevision.modeling_llava_onevision import (
    LlavaOnevisionModel,
    image_size_to_num_patches,
)

from mmtrt.native.engine_config import EngineConfig
from mmtrt.native.families.any_resolution import AnyResolution, TileFrontend
from mmtrt.native.hf_model import read_config


class LlavaOnevisionFrontend(TileFrontend):
    """See ``Frontend``."""

    processor_class = "LlavaOnevisionProcessor"
    picture = "<image>"
    # Source: llava-hf/llava-onevision-qwen2-7b-ov-hf model card, "Usage".
    template = "<|im_start|>user {images}\n{text}<|im_end|><|im_start|>assistant\n"

    def tiles(self, size: Any, images: int) -> int:
        """Return the tiles of a picture: one of several of a request is not cut."""
        if images > 1:
            return 1
        return image_size_to_num_patches(
            image_size=[int(side) for side in size],
            grid_pinpoints=self.config.image_grid_pinpoints,
            patch_size=self.config.vision_config.image_size,
        )

    def pack(self, features: list[Any], sizes: Any, newline: Any) -> list[Any]:
        """Pack as transformers does; its method needs nothing of the model but the settings."""
        model: Any = SimpleNamespace(config=self.config)
        ratio = self.config.vision_aspect_ratio
        return LlavaOnevisionModel.pack_image_features(model, features, sizes, newline, ratio)[0]


class LlavaOnevision(AnyResolution):
    """See ``Family``."""

    name = "llava_onevision"
    model_class = "LlavaOnevisionForConditionalGeneration"

    def frontend(
        self, model_dir: Path, llm: EngineConfig, vision: EngineConfig
    ) -> LlavaOnevisionFrontend:
        """See ``Family.frontend``."""
        return LlavaOnevisionFrontend(self.config(read_config(model_dir)), model_dir, llm)


FAMILY = LlavaOnevision()
