"""SmoothQuant: int8 weights and activations, after outliers have moved from these into those.

Each input channel is divided by s and its weights multiplied by s, which changes nothing before
rounding. Weights have one scale for each output, activations one for each token, found while the
engine runs: TensorRT-LLM's ``per_channel`` and ``per_token``. numpy only.

Source: Xiao et al., "SmoothQuant" (arXiv 2211.10438), section 4, equation 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

ALPHA = 0.5
"""How much of the difficulty moves to the weights. Source: the paper, section 4 and figure 10."""

LARGEST_INTEGER = 127
_SMALLEST = 1e-5
"""Of a channel's largest value. Source: the paper's code, smoothquant/smooth.py."""


def smoothing_scale(largest: Any, weights: Sequence[Any]) -> Any:
    """Return what the input of layers is multiplied by, 1/s, float32 ``[K]``.

    Args:
        largest: largest absolute value of each channel of their common input, float32 ``[K]``.
        weights: float32 ``[N, K]`` each.
    """
    import numpy as np

    weight = np.max([np.abs(each).max(axis=0) for each in weights], axis=0).clip(_SMALLEST)
    scale = largest.astype(np.float64).clip(_SMALLEST) ** ALPHA / weight ** (1 - ALPHA)
    return (1 / scale.clip(_SMALLEST)).astype(np.float32)


def round_weight(weight: Any) -> tuple[Any, Any]:
    """Return int8 ``[K, N]`` and float32 scales ``[N]`` of a weight ``[N, K]``, symmetric.

    The layout is the one that ``MatMulInteger`` takes.
    """
    import numpy as np

    scale = (np.abs(weight).max(axis=1) / LARGEST_INTEGER).astype(np.float32)
    scale[scale == 0] = 1
    integers = np.rint(weight / scale[:, None]).clip(-LARGEST_INTEGER, LARGEST_INTEGER)
    return np.ascontiguousarray(integers.T.astype(np.int8)), scale
