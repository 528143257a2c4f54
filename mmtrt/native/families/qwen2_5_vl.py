"""Qwen2.5-VL: as Qwen2-VL, but most vision blocks see windows, and time passes in seconds.

Source: transformers 5.23, models/qwen2_5_vl (modeling and processing).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLModel
from transformers.vision_utils import get_vision_window_index

from mmtrt.native.engine_config import EngineConfig
from mmtrt.native.families.qwen2_vl import Qwen2Vl, Qwen2VlFrontend
from mmtrt.native.hf_model import read_config
from mmtrt.native.video_file import Video


class Qwen25VlFrontend(Qwen2VlFrontend):
    """See ``Frontend``."""

    processor_class = "Qwen2_5_VLProcessor"
    model: ClassVar[Any] = Qwen2_5_VLModel

    def frames(self, video: Video) -> tuple[dict[str, Any], int]:
        """See ``VideoFrontend.frames``; the seconds between two steps decide positions."""
        arrays, rows = super().frames(video)
        seconds = self.video_settings.temporal_patch_size / video.fps
        # float32, as the processor's tensors are: positions are cut to whole numbers.
        return {**arrays, "second_per_grid_ts": np.array([seconds], dtype=np.float32)}, rows

    def pixels(self, shown: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the patch rows, where each stands, and the window of each."""
        vision = self.config.vision_config
        merge = vision.spatial_merge_size
        # The squares of a window follow each other in this order, which the blocks do not need.
        order, ends = get_vision_window_index(
            self.grids(shown), merge, vision.window_size, vision.patch_size
        )
        squares = np.diff(ends.numpy()) // merge**2
        windows: Any = np.empty(len(order), dtype=np.int64)
        windows[order.numpy()] = np.repeat(np.arange(len(squares)), squares)
        return {**super().pixels(shown), "windows": np.repeat(windows, merge**2)}


class Qwen25Vl(Qwen2Vl):
    """See ``Family``."""

    name = "qwen2_5_vl"
    model_class = "Qwen2_5_VLForConditionalGeneration"
    groups: ClassVar[tuple[str, ...]] = ("frames", "windows")

    def frontend(
        self, model_dir: Path, llm: EngineConfig, vision: EngineConfig
    ) -> Qwen25VlFrontend:
        """See ``Family.frontend``."""
        return Qwen25VlFrontend(self.config(read_config(model_dir)), model_dir, llm)


FAMILY = Qwen25Vl()
