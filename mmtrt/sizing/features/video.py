"""Families that see videos only."""

from __future__ import annotations

from mmtrt.sizing.features.cost import ImageCost, View, VisionShape, needed


def video_neva(shape: VisionShape, view: View) -> ImageCost:
    """Count a Video NeVA video; the vision engine's batch axis counts videos.

    ``data.num_frames`` of the ``.nemo`` file fixes the frames: a longer video is sampled.

    Source: TensorRT-LLM 1.2 README, Video NeVA section: 12 frames x 256 features.
    """
    frames = needed(view.frames or shape.num_frames, "video_neva", "num_frames")
    tokens = needed(shape.frame_tokens, "video_neva", "frame_tokens")
    return ImageCost(frames * tokens, 1, f"{frames} frames x {tokens}", unit="video")
