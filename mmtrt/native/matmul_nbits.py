"""Linear layers over packed weights, exported as ONNX Runtime's ``MatMulNBits`` operator."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from mmtrt.native.block_quantization import ACCURACY_LEVEL
from mmtrt.native.component import Quantization


class PackedLinear(nn.Module):
    """``x [..., K] -> x @ dequantize(weight).T + bias [..., N]``; only for export.

    ``weight_packed`` is uint8 ``[N, ceil(K / block), block * bits / 8]``, ``weight_scale`` float32
    ``[N, ceil(K / block)]``; the zero point is the middle of the range.
    """

    weight_packed: torch.Tensor
    weight_scale: torch.Tensor
    bias: torch.Tensor | None

    def __init__(self, linear: nn.Linear, quantization: Quantization) -> None:
        super().__init__()
        self._quantization = quantization
        self._in, self._out = linear.in_features, linear.out_features
        blocks = -(-self._in // quantization.block_size)
        block_bytes = quantization.block_size * quantization.bits // 8
        packed = torch.empty((self._out, blocks, block_bytes), dtype=torch.uint8)
        self.register_buffer("weight_packed", packed)
        self.register_buffer("weight_scale", torch.empty((self._out, blocks)))
        self.bias = linear.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Stand for the operator; there is nothing to compute outside ONNX Runtime."""
        y = torch.onnx.ops.symbolic(
            "com.microsoft::MatMulNBits",
            [x, self.weight_packed, self.weight_scale],
            attrs={
                "K": self._in,
                "N": self._out,
                "bits": self._quantization.bits,
                "block_size": self._quantization.block_size,
                "accuracy_level": ACCURACY_LEVEL[self._quantization.bits],
            },
            dtype=x.dtype,
            shape=(*x.shape[:-1], self._out),
            version=1,
        )
        return y if self.bias is None else y + self.bias


def replace_linears(model: Any, quantization: Quantization) -> None:
    """Put a ``PackedLinear`` in the place of every module that the checkpoint has packed."""
    for path in quantization.modules:
        parent, _, name = path.rpartition(".")
        owner = model.get_submodule(parent)
        setattr(owner, name, PackedLinear(getattr(owner, name), quantization))
