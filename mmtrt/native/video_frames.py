"""transformers' preprocessing of video frames without torchvision, which its own classes ask for.

torchvision hands tensors to torch's own resampling, and so does this. Driven by the model's own
files; settings that it does not know are refused instead of ignored.

Source: transformers 5.23, video_processing_utils.py, video_processing_qwen2_vl.py and
image_processing_backends.py; torchvision 0.28, transforms/v2/functional/_geometry.py. Compared in
``tests/native/test_video.py`` with what these give.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import interpolate

from mmtrt.native.errors import NativeError
from mmtrt.native.json_file import read_json

PLACES = ("video_preprocessor_config.json", "preprocessor_config.json")
"""Files that may hold a video processor's settings, the one that decides first."""
_NESTED = ("processor_config.json", "video_processor")
"""File that wins over these, and the key in it."""
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)
_MODES = {2: "bilinear", 3: "bicubic"}
"""Pillow's number of a resampling filter to torch's name."""
_FIXED = {
    "do_resize": True,
    "do_center_crop": False,
    "do_rescale": True,
    "do_normalize": True,
    "cap_pixels_per_frame": False,
}
"""Settings whose other values no model of these families has."""


@dataclass(frozen=True, kw_only=True)
class VideoSettings:
    """What is done to frames, with transformers' defaults for what a file leaves out."""

    size: Mapping[str, int]
    resample: int = 3
    rescale_factor: float = 1 / 255
    image_mean: tuple[float, ...] = _MEAN
    image_std: tuple[float, ...] = _STD
    patch_size: int = 14
    temporal_patch_size: int = 2
    merge_size: int = 2

    def resized(self, frames: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Return uint8 ``[F, 3, H, W]`` at another size."""
        if frames.shape[-2:] == (height, width):
            return frames
        mode = _MODES[self.resample]
        return interpolate(frames, (height, width), mode=mode, align_corners=False, antialias=True)

    def normalised(self, frames: torch.Tensor) -> torch.Tensor:
        """Return float32 of uint8 ``[F, 3, H, W]``."""
        mean, std = (
            (torch.tensor(each) * (1 / self.rescale_factor)).view(-1, 1, 1)
            for each in (self.image_mean, self.image_std)
        )
        return (frames.to(torch.float32) - mean) / std


def read_video_settings(model_dir: Path, size: Mapping[str, int]) -> VideoSettings:
    """Return the settings in a model's directory.

    Args:
        model_dir: the model.
        size: of the class in transformers, where the files leave it out.

    Raises:
        NativeError: RUN214, if there are none, or they ask for something else.
    """
    document = _document(model_dir)
    wrong = [
        name
        for name, value in _FIXED.items()
        if document.get(name) is not None and document[name] != value
    ]
    if document.get("resample", 3) not in _MODES:
        wrong.append("resample")
    if wrong:
        raise NativeError(
            f"{model_dir}: video preprocessing with {wrong[0]}={document[wrong[0]]}",
            code="RUN214",
            why="the frames would not be those that the model was trained with",
        )
    known: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in document.items()
        if name in VideoSettings.__dataclass_fields__ and value is not None
    }
    edges = {"shortest_edge": "min_pixels", "longest_edge": "max_pixels"}
    stated = {edge: document[name] for edge, name in edges.items() if document.get(name)}
    known["size"] = {**(document.get("size") or size), **stated}
    return VideoSettings(**known)


def _document(model_dir: Path) -> Mapping[str, Any]:
    file, key = _NESTED
    if (model_dir / file).is_file():
        nested = read_json(model_dir / file, code="RUN214", what="the processor's settings")
        if isinstance(nested.get(key), dict):
            return nested[key]
    found = next((name for name in PLACES if (model_dir / name).is_file()), None)
    if found is None:
        raise NativeError(
            f"{model_dir}: no settings of a video processor",
            code="RUN214",
            fix=f"give --model-dir the model's own directory, with its {PLACES[0]}",
        )
    return read_json(model_dir / found, code="RUN214", what="the video processor's settings")


def channels_first(frames: Any) -> torch.Tensor:
    """Return uint8 ``[F, 3, H, W]`` of numpy's ``[F, H, W, 3]``."""
    return torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous()


def patch_rows(frames: torch.Tensor, settings: VideoSettings) -> tuple[Any, tuple[int, int, int]]:
    """Return patches of ``temporal_patch_size`` frames each, square by square.

    Args:
        frames: float32 ``[F, 3, H, W]``, sides in whole squares; the last one is repeated where F
            is no multiple of ``temporal_patch_size``.
        settings: sizes of patches and squares.

    Returns:
        float32 ``[T * rows * columns, C]`` and ``(T, rows, columns)``.
    """
    deep, patch, merge = settings.temporal_patch_size, settings.patch_size, settings.merge_size
    missing = -len(frames) % deep
    frames = torch.cat([frames, frames[-1:].expand(missing, -1, -1, -1)])
    channels, height, width = frames.shape[1:]
    grid = len(frames) // deep, height // patch, width // patch
    split = frames.reshape(
        *(grid[0], deep, channels, grid[1] // merge, merge, patch, grid[2] // merge, merge, patch)
    )
    rows = split.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(grid[0] * grid[1] * grid[2], -1)
    return rows.numpy(), grid
