"""How many features a sound costs."""

from __future__ import annotations

import math

FRAMES_PER_SECOND = 100
"""One spectrogram frame each 10 ms."""
FRAMES_PER_FEATURE = 8

FAMILIES = frozenset({"phi4_multimodal"})
"""Families that take sound."""


def audio_features(family: str, seconds: float | None) -> int:
    """Return the rows of the prompt-embedding table that a sound of so many seconds needs.

    Source: TensorRT-LLM 1.2 ``PhiMMUtils.reshape_audio_chunks``; transformers
    ``Phi4MultimodalFeatureExtractor`` (hop of 10 ms, ``audio_compression_rate`` 8).
    """
    if not seconds or family not in FAMILIES:
        return 0
    return math.ceil(math.ceil(seconds * FRAMES_PER_SECOND) / FRAMES_PER_FEATURE)
