"""How many features a sound costs."""

from __future__ import annotations

import math

from mmtrt.sizing.features.cost import Flavour

FRAMES_PER_SECOND = 100
"""One spectrogram frame each 10 ms."""
FRAMES_PER_FEATURE = 8
_RATE = 16_000
_HOP, _WINDOW = 160, 400
"""Samples from one frame to the next, and of one frame."""
_ROUNDING = 1e-6
"""Part of a sample; seconds are no exact numbers of them."""

FAMILIES = frozenset({"phi4_multimodal"})
"""Families that take sound."""


def audio_features(family: str, seconds: float | None, flavour: Flavour = "trtllm") -> int:
    """Return the rows of the prompt-embedding table that a sound of so many seconds needs.

    Source: TensorRT-LLM 1.2 ``PhiMMUtils.reshape_audio_chunks``; transformers
    ``Phi4MultimodalFeatureExtractor`` (hop of 10 ms, ``audio_compression_rate`` 8), which leaves
    out the end that fills no window.
    """
    if not seconds or family not in FAMILIES:
        return 0
    if flavour == "hf":
        samples = math.ceil(seconds * _RATE - _ROUNDING)
        return math.ceil(max((samples - _WINDOW) // _HOP + 1, 1) / FRAMES_PER_FEATURE)
    return math.ceil(math.ceil(seconds * FRAMES_PER_SECOND) / FRAMES_PER_FEATURE)
