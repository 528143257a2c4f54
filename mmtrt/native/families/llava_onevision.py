"""LLaVA-OneVision: tiles as in LLaVA-NeXT, shrunk where there are too many; one of several whole.

A frame of a video is one tile.

Source: transformers 5.23, models/llava_onevision (modeling and processing).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isqrt
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
from transformers.models.llava_onevision.modeling_llava_onevision import LlavaOnevisionModel

from mmtrt.native.engine_config import EngineConfig
from mmtrt.native.errors import NativeError
from mmtrt.native.families.any_resolution import AnyResolution, TileFrontend
from mmtrt.native.families.video_frontend import PIXELS, VideoFrontend, shows_video
from mmtrt.native.frontend import Prepared
from mmtrt.native.hf_model import read_config
from mmtrt.native.video_file import Video
from mmtrt.native.video_frames import channels_first


class LlavaOnevisionFrontend(VideoFrontend, TileFrontend):
    """See ``Frontend``."""

    processor_class = "LlavaOnevisionProcessor"
    picture = "<image>"
    video_placeholder = video_picture = "<video>"
    video_size: ClassVar[Mapping[str, int]] = {"height": 384, "width": 384}
    # Source: llava-hf/llava-onevision-qwen2-7b-ov-hf model card, "Usage".
    template = "<|im_start|>user {images}\n{text}<|im_end|><|im_start|>assistant\n"

    def tiles(self, size: Any, images: int) -> int:
        """Return the tiles of a picture: one of several of a request is not cut."""
        return 1 if images > 1 else super().tiles(size, images)

    def frames(self, video: Video) -> tuple[dict[str, Any], int]:
        """See ``VideoFrontend.frames``: every frame is one tile, pooled by two; then a newline."""
        settings = self.video_settings
        size = settings.size
        if size.keys() != {"height", "width"}:
            raise NativeError(
                f"{self.model_dir}: frames of size {dict(size)}",
                code="RUN214",
                why="the vision engine takes tiles of one size",
            )
        pixels = channels_first(video.frames)
        frames = settings.normalised(settings.resized(pixels, size["height"], size["width"]))
        side = -(-isqrt(self.processor.num_image_tokens) // 2)
        return {PIXELS: frames.numpy()[None]}, len(frames) * side**2 + 1

    def pixels(self, shown: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the tiles of all pictures, or the frames of all videos."""
        if not shows_video(shown):
            return super().pixels(shown)
        return {"pixels": np.concatenate([single[PIXELS][0] for single in shown])}

    def table(self, prepared: Prepared, features: Mapping[str, Any]) -> Any:
        """Return the packed rows of all pictures, or the pooled rows of all videos."""
        shown = prepared.notes["shown"]
        if not shows_video(shown):
            return super().table(prepared, features)
        model: Any = SimpleNamespace(config=self.config)
        pooled = LlavaOnevisionModel.apply_pooling(model, torch.from_numpy(features["features"]))
        rows, end = [], 0
        for single in shown:
            begin, end = end, end + single[PIXELS].shape[1]
            rows += [pooled[begin:end].flatten(0, 1).numpy(), features["newline"][None]]
        return np.concatenate(rows)

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
