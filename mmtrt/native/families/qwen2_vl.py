"""Qwen2-VL: rows of patches of pictures of any size, and positions in three axes.

Source: transformers 5.23, models/qwen2_vl (modeling and processing).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from transformers.models.qwen2_vl.modeling_qwen2_vl import (
    Qwen2VLModel,
    apply_rotary_pos_emb_vision,
)
from transformers.vision_utils import get_vision_position_ids

from mmtrt.native.engine_config import EngineConfig
from mmtrt.native.families.hf_family import HfFamily, Parts
from mmtrt.native.families.hf_frontend import HfFrontend, joined
from mmtrt.native.frontend import Engines, Prepared, Start
from mmtrt.native.graph import Graph
from mmtrt.native.hf_model import read_config
from mmtrt.native.llm_graph import CacheShape, PromptTableLlm, additive, llm_graph
from mmtrt.native.steps import Window, plain_positions
from mmtrt.sizing.features.native_resolution import MAX_PATCH_ROWS

_AXES = 3
_TRACED_SQUARES = 6


class PatchEncoder(nn.Module):
    """The vision encoder over the patch rows of all pictures at once; none sees another's.

    P: patch rows; C: values of a patch; squares: P / merge size squared; D: hidden size of the
    language model.
    """

    def __init__(self, visual: Any) -> None:
        """Take the vision part of a transformers model."""
        super().__init__()
        self.visual = visual

    def forward(
        self, pixels: torch.Tensor, places: torch.Tensor, frames: torch.Tensor
    ) -> torch.Tensor:
        """Return the features ``[squares, D]``.

        Args:
            pixels: float32 ``[P, C]``, square by square.
            places: int64 ``[P, 2]``; row and column of each patch in its picture.
            frames: int64 ``[P]``; number of the picture that each patch belongs to.
        """
        visual = self.visual
        hidden = visual.patch_embed(pixels)
        rotation = visual.rotary_pos_emb(hidden, places)
        mask = additive((frames[:, None] == frames[None])[None])[0]
        for block in visual.blocks:
            hidden = hidden + _attend(block.attn, block.norm1(hidden), rotation, mask)
            hidden = hidden + block.mlp(block.norm2(hidden))
        return visual.merger(hidden)


def _attend(
    attention: Any,
    hidden: torch.Tensor,
    rotation: tuple[torch.Tensor, torch.Tensor],
    mask: torch.Tensor,
) -> torch.Tensor:
    """Do what ``VisionAttention`` does picture by picture for all of them, with a mask."""
    rows, heads = hidden.shape[0], attention.num_heads
    split = attention.qkv(hidden).reshape(rows, 3, heads, -1).permute(1, 0, 2, 3)
    query, key = apply_rotary_pos_emb_vision(split[0], split[1], *rotation)
    scores = query.transpose(0, 1) @ key.transpose(0, 1).transpose(1, 2) * attention.scaling
    weights = (scores + mask).softmax(dim=-1)
    seen = (weights @ split[2].transpose(0, 1)).transpose(0, 1).reshape(rows, -1)
    return attention.proj(seen)


class Qwen2VlFrontend(HfFrontend):
    """See ``Frontend``."""

    processor_class = "Qwen2VLProcessor"
    placeholder = "<|image_pad|>"
    picture = "<|vision_start|><|image_pad|><|vision_end|>"
    # Source: chat_template.json of Qwen/Qwen2-VL-7B-Instruct, without its system message.
    template = "<|im_start|>user\n{images}{text}<|im_end|>\n<|im_start|>assistant\n"

    def pixels(self, shown: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the patch rows of all pictures and where each stands."""
        grid = torch.from_numpy(joined(shown, "image_grid_thw"))
        merge = self.config.vision_config.spatial_merge_size
        sizes: Any = np.repeat((grid[:, 1] * grid[:, 2]).numpy(), grid[:, 0].numpy())
        return {
            "pixels": joined(shown, "pixel_values"),
            "places": get_vision_position_ids(grid, merge).numpy(),
            "frames": np.repeat(np.arange(len(sizes)), sizes),
        }

    def items(self, pixels: Mapping[str, Any], pictures: int) -> int:
        """Return the shares of ``MAX_PATCH_ROWS`` patch rows, as TensorRT-LLM counts them."""
        return -(-len(pixels["pixels"]) // MAX_PATCH_ROWS)

    def start(
        self, prepared: Prepared, features: Mapping[str, Any] | None, engines: Engines
    ) -> Start:
        """Begin with positions in three axes: time, height and width for pictures."""
        base = super().start(prepared, features, engines)
        placed = [self._positions(single) for single in prepared.notes["singles"]]
        deltas = np.array([each.max() + 1 - each.shape[1] for each in placed], dtype=np.int64)

        def feed(window: Window) -> Mapping[str, Any]:
            if not window.is_prefill:
                later = plain_positions(window) + deltas[:, None]
                return {"positions": np.repeat(later[None], _AXES, axis=0)}
            positions = np.zeros((_AXES, *window.ids.shape), dtype=np.int64)
            for row, each in enumerate(placed):
                positions[:, row, -each.shape[1] :] = each
            return {"positions": positions}

        return Start(prompts=base.prompts, table=base.table, feed=feed)

    def _positions(self, single: Mapping[str, Any]) -> Any:
        """Return int64 ``[3, S]`` of one prompt."""
        ids = torch.as_tensor(single["input_ids"])
        if "image_grid_thw" not in single:
            return np.repeat(np.arange(ids.shape[1])[None], _AXES, axis=0)
        # The method needs nothing of the model but its settings.
        model: Any = SimpleNamespace(config=self.config)
        model.get_vision_position_ids = partial(Qwen2VLModel.get_vision_position_ids, model)
        positions, _ = Qwen2VLModel.get_rope_index(
            model,
            ids,
            mm_token_type_ids=torch.as_tensor(single["mm_token_type_ids"]),
            image_grid_thw=torch.as_tensor(single["image_grid_thw"]),
        )
        return positions[:, 0].numpy()


class Qwen2Vl(HfFamily):
    """See ``Family``."""

    name = "qwen2_vl"
    model_class = "Qwen2VLForConditionalGeneration"
    parts: ClassVar[Parts] = {
        "vision": ("model.visual.",),
        "llm": ("model.language_model.", "lm_head."),
    }

    def vision_graph(self, model: Any) -> Graph:
        """Return the encoder of patch rows; their number is a multiple of a square's."""
        vision = model.config.vision_config
        square = vision.spatial_merge_size**2
        rows = _TRACED_SQUARES * square
        patch = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
        by_row = {0: square * torch.export.Dim("squares")}
        return Graph(
            module=PatchEncoder(model.model.visual),
            args=(
                torch.zeros(rows, patch),
                torch.zeros(rows, 2, dtype=torch.int64),
                torch.zeros(rows, dtype=torch.int64),
            ),
            dynamic_shapes=(by_row, by_row, by_row),
            input_names=["pixels", "places", "frames"],
            output_names=["features"],
        )

    def llm_graph(self, model: Any, max_seq_len: int) -> Graph:
        """Return the usual language model with positions ``[3, B, S]``."""
        text = model.config.get_text_config()
        module = PromptTableLlm(
            model.model.language_model,
            model.lm_head,
            vocab_size=text.vocab_size,
            max_seq_len=max_seq_len,
        )
        return llm_graph(
            module,
            CacheShape.of(text, max_seq_len),
            hidden_size=text.hidden_size,
            position_axes=(_AXES,),
        )

    def frontend(self, model_dir: Path, llm: EngineConfig, vision: EngineConfig) -> Qwen2VlFrontend:
        """See ``Family.frontend``."""
        return Qwen2VlFrontend(self.config(read_config(model_dir)), model_dir, llm)


FAMILY = Qwen2Vl()
