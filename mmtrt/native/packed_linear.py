"""Linear layers over packed weights: their tensors, and the operators of ONNX Runtime for export.

Packages of AOTInductor take the tensors alone; ``aot_matrix`` says what they compute.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from mmtrt.native.block_quantization import ACCURACY_LEVEL
from mmtrt.native.component import Quantization
from mmtrt.native.float8 import FLOAT8
from mmtrt.native.smoothquant import LARGEST_INTEGER

_ZERO_POINT = 128
_TINY = 1e-12
"""Scale of a token that is all zeros, so that nothing is divided by zero."""


class PackedLinear(nn.Module):
    """``x [..., K] -> (x * pre_quant_scale) @ dequantize(weight).T + bias [..., N]``."""

    weight_packed: torch.Tensor
    weight_scale: torch.Tensor
    pre_quant_scale: torch.Tensor | None
    bias: torch.Tensor | None

    def __init__(
        self, linear: nn.Linear, packed: torch.Tensor, scale: torch.Tensor, *, is_scaled: bool
    ) -> None:
        """Take the layer that it stands for, and room for its tensors."""
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.register_buffer("weight_packed", packed)
        self.register_buffer("weight_scale", scale)
        room = torch.empty(self.in_features) if is_scaled else None
        self.register_buffer("pre_quant_scale", room)
        self.bias = linear.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Stand for the operators; there is nothing to compute outside ONNX Runtime."""
        if self.pre_quant_scale is not None:
            x = x * self.pre_quant_scale
        y = self.product(x)
        return y if self.bias is None else y + self.bias

    def product(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``x @ dequantize(weight).T``."""
        raise NotImplementedError


class BlockLinear(PackedLinear):
    """Blocks along the input side, by ``MatMulNBits``.

    ``weight_packed`` is uint8 ``[N, ceil(K / block), block * bits / 8]``, ``weight_scale`` float32
    ``[N, ceil(K / block)]``; the zero point is the middle of the range.
    """

    def __init__(self, linear: nn.Linear, quantization: Quantization, *, is_scaled: bool) -> None:
        """Take the layer that it stands for."""
        self.bits, self.block_size = quantization.bits, quantization.block_size
        blocks = -(-linear.in_features // self.block_size)
        block_bytes = self.block_size * self.bits // 8
        packed = torch.empty((linear.out_features, blocks, block_bytes), dtype=torch.uint8)
        scale = torch.empty((linear.out_features, blocks))
        super().__init__(linear, packed, scale, is_scaled=is_scaled)

    def product(self, x: torch.Tensor) -> torch.Tensor:
        """See ``PackedLinear.product``."""
        return torch.onnx.ops.symbolic(
            "com.microsoft::MatMulNBits",
            [x, self.weight_packed, self.weight_scale],
            attrs={
                "K": self.in_features,
                "N": self.out_features,
                "bits": self.bits,
                "block_size": self.block_size,
                "accuracy_level": ACCURACY_LEVEL[self.bits],
            },
            dtype=x.dtype,
            shape=(*x.shape[:-1], self.out_features),
            version=1,
        )


class IntegerLinear(PackedLinear):
    """int8 weights and activations, by ``MatMulInteger``; each token has a scale of its own.

    ``weight_packed`` is int8 ``[K, N]``, ``weight_scale`` float32 ``[N]``. A scale for the whole
    input, as ``DynamicQuantizeLinear`` has it, would let the requests of a batch change each other.
    """

    def __init__(self, linear: nn.Linear, *, is_scaled: bool) -> None:
        """Take the layer that it stands for."""
        packed = torch.empty((linear.in_features, linear.out_features), dtype=torch.int8)
        super().__init__(linear, packed, torch.empty(linear.out_features), is_scaled=is_scaled)

    def product(self, x: torch.Tensor) -> torch.Tensor:
        """See ``PackedLinear.product``."""
        step = x.abs().amax(dim=-1, keepdim=True).clamp(min=_TINY) * (1 / LARGEST_INTEGER)
        # Unsigned: ONNX Runtime has no kernel for two signed operands on most x86 processors.
        integers = ((x / step).round() + _ZERO_POINT).to(torch.uint8)
        total = torch.onnx.ops.symbolic(
            "MatMulInteger",
            [
                integers,
                self.weight_packed,
                torch.tensor(_ZERO_POINT, dtype=torch.uint8),
            ],
            dtype=torch.int32,
            shape=(*x.shape[:-1], self.out_features),
        )
        return total.to(torch.float32) * step * self.weight_scale


class Float8Linear(PackedLinear):
    """float8 weights with one scale an output; ONNX Runtime has no operator for them.

    ``weight_packed`` is float8_e4m3fn ``[N, K]``, ``weight_scale`` float32 ``[N]``.
    """

    def __init__(self, linear: nn.Linear) -> None:
        """Take the layer that it stands for."""
        packed = torch.empty((linear.out_features, linear.in_features), dtype=torch.float8_e4m3fn)
        super().__init__(linear, packed, torch.empty(linear.out_features), is_scaled=False)


def replace_linears(model: Any, quantization: Quantization, inner: str = "") -> None:
    """Put a ``PackedLinear`` in the place of every module that the checkpoint has packed.

    Args:
        model: with ``nn.Linear`` in these places.
        quantization: which modules, by their paths in the checkpoint.
        inner: the checkpoint's name of what the model calls ``model.``.
    """
    scaled = set(quantization.scaled)
    for path in quantization.modules:
        is_inner = bool(inner) and path.startswith(inner)
        parent, _, name = (f"model.{path.removeprefix(inner)}" if is_inner else path).rpartition(
            "."
        )
        owner = model.get_submodule(parent)
        linear, is_scaled = getattr(owner, name), path in scaled
        packed: PackedLinear
        if quantization.block_size:
            packed = BlockLinear(linear, quantization, is_scaled=is_scaled)
        elif quantization.format == FLOAT8:
            packed = Float8Linear(linear)
        else:
            packed = IntegerLinear(linear, is_scaled=is_scaled)
        setattr(owner, name, packed)
