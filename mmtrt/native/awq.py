"""AWQ: make the input channels that matter larger before their weights are rounded to 4 bits.

A channel is multiplied by s in the weights and divided by s in the input, which changes nothing
before rounding. s is the mean size of the channel to a power; the power is searched. numpy only.

Source: Lin et al., "AWQ: Activation-aware Weight Quantization" (arXiv 2306.00978), section 3.2,
equations 4 and 5. The steps of the power are those of ``awq_lite`` in NVIDIA's modelopt, which
TensorRT-LLM quantizes with; one s serves all layers that share their input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmtrt.native.block_quantization import BlockQuantizer

POWERS = tuple(step / 10 for step in range(11))
"""0 is plain rounding, so that the search never ends with a larger error."""

_SMALLEST = 1e-4
"""Of a channel's mean size, so that no weight is divided by zero. Source: llm-awq, auto_scale."""


@dataclass(frozen=True, kw_only=True)
class AwqScale:
    """The result of one search."""

    pre_quant_scale: Any
    """What the input is multiplied by, 1/s, float32 ``[K]``; ``None``: plain rounding is best."""
    error: float
    """Mean square of what rounding changes in the layers' outputs."""
    plain_error: float
    """The same with plain rounding."""


def search_scale(inputs: Any, weights: Sequence[Any], quantizer: BlockQuantizer) -> AwqScale:
    """Return the scale with the smallest error on some rows of the layers' common input.

    Args:
        inputs: float32 ``[n, K]``.
        weights: of the layers, float32 ``[N, K]`` each.
        quantizer: how they are rounded.
    """
    import numpy as np

    size = np.abs(inputs).mean(axis=0, dtype=np.float64).clip(_SMALLEST)
    best: Any = None
    smallest = plain = output_error(inputs, weights, quantizer, None)
    for power in POWERS[1:]:
        scale = size**power
        scale /= np.sqrt(scale.max() * scale.min())
        inverse = (1 / scale).astype(np.float32)
        error = output_error(inputs, weights, quantizer, inverse)
        if error < smallest:
            best, smallest = inverse, error
    return AwqScale(pre_quant_scale=best, error=smallest, plain_error=plain)


def output_error(
    inputs: Any, weights: Sequence[Any], quantizer: BlockQuantizer, pre_quant_scale: Any
) -> float:
    """Return the mean square difference between outputs of rounded weights and of the given ones.

    Args:
        inputs: float32 ``[n, K]``.
        weights: float32 ``[N, K]`` each.
        quantizer: how they are rounded.
        pre_quant_scale: float32 ``[K]``, or ``None`` for 1.
    """
    import numpy as np

    total, count = 0.0, 0
    for weight in weights:
        scaled = weight if pre_quant_scale is None else weight / pre_quant_scale
        rounded = quantizer.unpack(*quantizer.pack(scaled), inputs=weight.shape[1])
        if pre_quant_scale is not None:
            rounded *= pre_quant_scale
        rounded -= weight
        change = inputs @ rounded.T
        total += float(np.square(change, dtype=np.float64).sum())
        count += change.size
    return total / count
