"""LLaVA-NeXT: a picture is an overview tile and a grid of tiles, each row ended by a newline.

Source: transformers 5.23, models/llava_next (modeling and processing).
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from transformers.models.llava_next.modeling_llava_next import LlavaNextModel

from mmtrt.native.engine_config import EngineConfig
from mmtrt.native.families.any_resolution import AnyResolution, TileFrontend
from mmtrt.native.hf_model import read_config


class LlavaNextFrontend(TileFrontend):
    """See ``Frontend``."""

    processor_class = "LlavaNextProcessor"
    # Source: llava-hf/llava-v1.6-mistral-7b-hf model card, "How to use the model".
    template = "[INST] {images}{text} [/INST]"

    def pack(self, features: list[Any], sizes: Any, newline: Any) -> list[Any]:
        """Pack as transformers does; its method needs nothing of the model but the settings."""
        model: Any = SimpleNamespace(config=self.config)
        strategy = self.config.vision_feature_select_strategy
        return LlavaNextModel.pack_image_features(model, features, sizes, strategy, newline)[0]


class LlavaNext(AnyResolution):
    """See ``Family``."""

    name = "llava_next"
    model_class = "LlavaNextForConditionalGeneration"

    def frontend(
        self, model_dir: Path, llm: EngineConfig, vision: EngineConfig
    ) -> LlavaNextFrontend:
        """See ``Family.frontend``."""
        return LlavaNextFrontend(self.config(read_config(model_dir)), model_dir, llm)


FAMILY = LlavaNext()
