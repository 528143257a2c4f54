"""Round weights to float8 with one scale for each output.

Weights alone: what they are multiplied by keeps its type. TensorRT-LLM's fp8 rounds that, too.
"""

from __future__ import annotations

from typing import Any

FLOAT8 = "fp8"
"""The format's name."""

LARGEST = 448.0
"""Source: Micikevicius et al., "FP8 Formats for Deep Learning" (arXiv 2209.05433), table 1."""


def round_weight(weight: Any) -> tuple[Any, Any]:
    """Return the bytes of float8_e4m3fn, uint8 ``[N, K]``, and float32 scales ``[N]``.

    Rounded to nearest even, as torch does it: numpy has no float8.

    Args:
        weight: float32 ``[N, K]``.
    """
    import numpy as np
    import torch

    scale = (np.abs(weight).max(axis=1) / np.float32(LARGEST)).astype(np.float32)
    # Also where the largest weight is so small that its scale would be 0.
    scale[scale == 0] = 1
    scaled = torch.from_numpy(weight / scale[:, None]).clamp_(-LARGEST, LARGEST)
    return scaled.to(torch.float8_e4m3fn).view(torch.uint8).numpy(), scale
