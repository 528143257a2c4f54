"""InternVL in the layout of transformers: tiles, each shuffled to a quarter of its patches.

Source: transformers 5.23, models/internvl (modeling and processing).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn
from transformers.models.internvl.modeling_internvl import InternVLModel

from mmtrt.native.engine_config import EngineConfig
from mmtrt.native.families.hf_family import HfFamily, Parts
from mmtrt.native.families.hf_frontend import HfFrontend
from mmtrt.native.graph import Graph
from mmtrt.native.hf_model import read_config
from mmtrt.native.pixel_graph import pixel_graph


class ShuffledEncoder(nn.Module):
    """Tower, pixel shuffle and projector: ``pixels [N, 3, H, W] -> features [N, rows, D]``."""

    def __init__(self, model: Any) -> None:
        """Take the parts of a transformers model."""
        super().__init__()
        self.vision_tower = model.vision_tower
        self.multi_modal_projector = model.multi_modal_projector
        config = model.config
        self._layer = config.vision_feature_layer
        self._skips_class_row = config.vision_feature_select_strategy == "default"
        self._ratio = config.downsample_ratio
        height, width = config.vision_config.image_size
        patch = config.vision_config.patch_size
        self._grid = (height // patch[0], width // patch[1])

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the features of each tile."""
        if self._layer == -1:
            rows = self.vision_tower(pixels).last_hidden_state
        else:
            outputs = self.vision_tower(pixels, output_hidden_states=True)
            rows = outputs.hidden_states[self._layer]
        if self._skips_class_row:
            rows = rows[:, 1:]
        grid = rows.reshape(rows.shape[0], *self._grid, rows.shape[-1])
        shuffled = InternVLModel.pixel_shuffle(self, grid, self._ratio)
        return self.multi_modal_projector(shuffled.flatten(1, 2))


class InternVl2Frontend(HfFrontend):
    """See ``Frontend``."""

    processor_class = "InternVLProcessor"
    placeholder = "<IMG_CONTEXT>"
    picture = "<IMG_CONTEXT>\n"
    # Source: chat_template.jinja of OpenGVLab/InternVL3-1B-hf.
    template = "<|im_start|>user\n{images}{text}<|im_end|>\n<|im_start|>assistant\n"

    def items(self, pixels: Mapping[str, Any], pictures: int) -> int:
        """Return the shares of ``max_patches`` tiles: the vision engine takes one for each N."""
        most = self.processor.image_processor.max_patches
        return -(-len(pixels["pixels"]) // most)


class InternVl2(HfFamily):
    """See ``Family``."""

    name = "internvl"
    model_class = "InternVLForConditionalGeneration"
    plain_text: ClassVar[bool] = True
    parts: ClassVar[Parts] = {
        "vision": ("model.vision_tower.", "model.multi_modal_projector."),
        "llm": ("model.language_model.", "lm_head."),
    }

    def image_size(self, config: Any) -> tuple[int, int]:
        """Return the size of a tile."""
        height, width = config.vision_config.image_size
        return height, width

    def vision_graph(self, model: Any) -> Graph:
        """Return the encoder of tiles."""
        return pixel_graph(ShuffledEncoder(model.model), *self.image_size(model.config))

    def frontend(
        self, model_dir: Path, llm: EngineConfig, vision: EngineConfig
    ) -> InternVl2Frontend:
        """See ``Family.frontend``."""
        return InternVl2Frontend(self.config(read_config(model_dir)), model_dir, llm)


FAMILY = InternVl2()
