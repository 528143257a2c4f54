"""Qwen2-VL: rows of patches of pictures and videos of any size, and positions in three axes.

Source: transformers 5.23, models/qwen2_vl (modeling and processing).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from transformers import AutoModel
from transformers.models.qwen2_vl.modeling_qwen2_vl import (
    Qwen2VLModel,
    apply_rotary_pos_emb_vision,
)
from transformers.vision_utils import get_vision_position_ids

from mmtrt.native.engine_config import EngineConfig
from mmtrt.native.errors import NativeError
from mmtrt.native.families.hf_family import HfFamily, Parts
from mmtrt.native.families.hf_frontend import joined
from mmtrt.native.families.video_frontend import PIXELS, VideoFrontend, shows_video
from mmtrt.native.frontend import Engines, Prepared, Start
from mmtrt.native.graph import Graph
from mmtrt.native.hf_model import read_config
from mmtrt.native.llm_graph import CacheShape, PromptTableLlm, additive, llm_graph
from mmtrt.native.steps import Window, plain_positions
from mmtrt.native.video_file import Video
from mmtrt.native.video_frames import channels_first, patch_rows
from mmtrt.sizing.features.native_resolution import LONGEST_ASPECT, MAX_PATCH_ROWS, smart_size

_AXES = 3
_TRACED_SQUARES = 6
_VIDEO_TYPE = 2
"""Of a token that stands for a row of a video (transformers 5.23 ``mm_token_type_ids``)."""
_PLACING = ("image_grid_thw", "video_grid_thw", "second_per_grid_ts")
"""Names of what positions depend on beside the ids."""


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
        self,
        pixels: torch.Tensor,
        places: torch.Tensor,
        frames: torch.Tensor,
        windows: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the features ``[squares, D]``.

        Args:
            pixels: float32 ``[P, C]``, square by square.
            places: int64 ``[P, 2]``; row and column of each patch in its picture.
            frames: int64 ``[P]``; number of the picture, or step in time of a video, that each
                patch belongs to.
            windows: int64 ``[P]``; number of the window that each patch sees in the blocks that do
                not see whole pictures; ``None`` where all do.
        """
        visual = self.visual
        hidden = visual.patch_embed(pixels)
        rotation = visual.rotary_pos_emb(hidden, places)
        whole = _together(frames)
        inside = whole if windows is None else _together(windows)
        for number, block in enumerate(visual.blocks):
            sees_all = windows is None or number in visual.fullatt_block_indexes
            mask = whole if sees_all else inside
            hidden = hidden + _attend(block.attn, block.norm1(hidden), rotation, mask)
            hidden = hidden + block.mlp(block.norm2(hidden))
        return visual.merger(hidden)


def _together(groups: torch.Tensor) -> torch.Tensor:
    """Return float32 ``[P, P]`` that lets patches of one group see each other alone."""
    return additive((groups[:, None] == groups[None])[None])[0]


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
    # The mask is float32, and so is the sum with it.
    weights = (scores + mask).softmax(dim=-1).to(hidden.dtype)
    seen = (weights @ split[2].transpose(0, 1)).transpose(0, 1).reshape(rows, -1)
    return attention.proj(seen)


class Qwen2VlFrontend(VideoFrontend):
    """See ``Frontend``."""

    processor_class = "Qwen2VLProcessor"
    model: ClassVar[Any] = Qwen2VLModel
    """The class in transformers that knows positions."""
    placeholder = "<|image_pad|>"
    picture = "<|vision_start|><|image_pad|><|vision_end|>"
    video_placeholder = "<|video_pad|>"
    video_picture = "<|vision_start|><|video_pad|><|vision_end|>"
    # Source: transformers 5.23, class Qwen2VLVideoProcessor.
    video_size: ClassVar[Mapping[str, int]] = {
        "shortest_edge": 128 * 28 * 28,
        "longest_edge": 28 * 28 * 768,
    }
    # Source: chat_template.json of Qwen/Qwen2-VL-7B-Instruct, without its system message.
    template = "<|im_start|>user\n{images}{text}<|im_end|>\n<|im_start|>assistant\n"

    def frames(self, video: Video) -> tuple[dict[str, Any], int]:
        """See ``VideoFrontend.frames``: patches of two frames each."""
        settings = self.video_settings
        step = settings.patch_size * settings.merge_size
        least, most = (settings.size[edge] for edge in ("shortest_edge", "longest_edge"))
        pixels = channels_first(video.frames)
        height, width = pixels.shape[-2:]
        if max(height, width) > LONGEST_ASPECT * min(height, width):
            raise NativeError(f"a video of {width}x{height} pixels is too narrow", code="RUN216")
        size = smart_size((height, width), step, least, most)
        scaled = settings.normalised(settings.resized(pixels, *size))
        rows, grid = patch_rows(scaled, settings)
        arrays = {PIXELS: rows, "video_grid_thw": np.array([grid], dtype=np.int64)}
        return arrays, len(rows) // settings.merge_size**2

    def show(self, prompt: str, frames: Mapping[str, Any], rows: int) -> dict[str, Any]:
        """See ``VideoFrontend.show``; positions ask which tokens stand for rows."""
        single = super().show(prompt, frames, rows)
        is_row = single["input_ids"] == self.config.video_token_id
        return {**single, "mm_token_type_ids": np.where(is_row, _VIDEO_TYPE, 0)}

    def pixels(self, shown: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the patch rows of all pictures, or of all videos, and where each stands."""
        is_video = shows_video(shown)
        grid = self.grids(shown)
        merge = self.config.vision_config.spatial_merge_size
        sizes: Any = np.repeat((grid[:, 1] * grid[:, 2]).numpy(), grid[:, 0].numpy())
        return {
            "pixels": joined(shown, PIXELS if is_video else "pixel_values"),
            "places": get_vision_position_ids(grid, merge).numpy(),
            "frames": np.repeat(np.arange(len(sizes)), sizes),
        }

    def grids(self, shown: Sequence[Mapping[str, Any]]) -> torch.Tensor:
        """Return int64 ``[N, 3]``: steps in time, rows and columns of patches of what is shown."""
        name = "video_grid_thw" if shows_video(shown) else "image_grid_thw"
        return torch.from_numpy(joined(shown, name))

    def items(self, pixels: Mapping[str, Any], pictures: int) -> int:
        """Return the shares of ``MAX_PATCH_ROWS`` patch rows, as TensorRT-LLM counts them."""
        return -(-len(pixels["pixels"]) // MAX_PATCH_ROWS)

    def start(
        self, prepared: Prepared, features: Mapping[str, Any] | None, engines: Engines
    ) -> Start:
        """Begin with positions in three axes: time, height and width for what is shown."""
        base = super().start(prepared, features, engines)
        placed = [self._positions(single) for single in prepared.notes["singles"]]
        # As generate goes on, whatever rope_deltas say: text may stand before a long video's end.
        shifts = np.stack([each[:, -1] + 1 - each.shape[1] for each in placed], axis=1)

        def feed(window: Window) -> Mapping[str, Any]:
            if not window.is_prefill:
                return {"positions": plain_positions(window) + shifts[..., None]}
            positions = np.zeros((_AXES, *window.ids.shape), dtype=np.int64)
            for row, each in enumerate(placed):
                positions[:, row, window.shown[row]] = each
            return {"positions": positions}

        return replace(base, feed=feed)

    def _positions(self, single: Mapping[str, Any]) -> Any:
        """Return int64 ``[3, S]`` of one prompt."""
        ids = torch.as_tensor(single["input_ids"])
        given = {name: torch.as_tensor(single[name]) for name in _PLACING if name in single}
        if not given:
            return np.repeat(np.arange(ids.shape[1])[None], _AXES, axis=0)
        # The method needs nothing of the model but its settings.
        model: Any = SimpleNamespace(config=self.config)
        model.get_vision_position_ids = partial(self.model.get_vision_position_ids, model)
        types = torch.as_tensor(single["mm_token_type_ids"])
        positions, _ = self.model.get_rope_index(model, ids, mm_token_type_ids=types, **given)
        return positions[:, 0].numpy()


class TextWithHead(nn.Module):
    """The language model alone, named as causal ones are; transformers has no class for it."""

    def __init__(self, text: Any) -> None:
        """Make it from its configuration, without weights."""
        super().__init__()
        self.config = text
        self.model = AutoModel.from_config(text, attn_implementation="eager")
        # On no device: nothing of it is filled before the weights come.
        self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=False, device="meta")


class Qwen2Vl(HfFamily):
    """See ``Family``."""

    name = "qwen2_vl"
    model_class = "Qwen2VLForConditionalGeneration"
    plain_text: ClassVar[bool] = True
    parts: ClassVar[Parts] = {
        "vision": ("model.visual.",),
        "llm": ("model.language_model.", "lm_head."),
    }
    groups: ClassVar[tuple[str, ...]] = ("frames",)
    """Inputs of the vision engine that tell which patches see each other."""

    def vision_graph(self, model: Any) -> Graph:
        """Return the encoder of patch rows; their number is a multiple of a square's."""
        vision = model.config.vision_config
        square = vision.spatial_merge_size**2
        rows = _TRACED_SQUARES * square
        patch = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
        by_row = {0: square * torch.export.Dim("squares")}
        groups = {name: torch.zeros(rows, dtype=torch.int64) for name in self.groups}
        return Graph(
            module=PatchEncoder(model.model.visual),
            args=(
                torch.zeros(rows, patch),
                torch.zeros(rows, 2, dtype=torch.int64),
                *groups.values(),
            ),
            dynamic_shapes=(by_row,) * (2 + len(groups)),
            input_names=["pixels", "places", *groups],
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

    def causal_model(self, text: Any) -> TextWithHead:
        """See ``HfFamily.causal_model``."""
        return TextWithHead(text)

    def frontend(self, model_dir: Path, llm: EngineConfig, vision: EngineConfig) -> Qwen2VlFrontend:
        """See ``Family.frontend``."""
        return Qwen2VlFrontend(self.config(read_config(model_dir)), model_dir, llm)


FAMILY = Qwen2Vl()
