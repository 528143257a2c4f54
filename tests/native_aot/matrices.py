"""Small matrices of each number format, rounded by the code of the ``quantize`` stage."""

from __future__ import annotations

from typing import Any

import torch

from mmtrt.native import float8
from mmtrt.native.aot_matrix import Matrix, MergedLinear
from mmtrt.native.block_quantization import BITS, BlockQuantizer
from mmtrt.native.component import Quantization
from mmtrt.native.packed_linear import BlockLinear, Float8Linear

BLOCK = 32


def packed_matrix(
    format_: str, rows: int, columns: int, *, dtype: torch.dtype, block_size: int = BLOCK
) -> Matrix:
    """Return a random matrix with a bias; ``int4_awq`` scales its inputs."""
    layer = packed_linear(format_, rows, columns, block_size)
    return MergedLinear([layer], dtype=dtype, device="cpu").matrix


def packed_linear(format_: str, rows: int, columns: int, block_size: int = BLOCK) -> Any:
    """Return a random layer as a checkpoint of a format has it."""
    linear = torch.nn.Linear(columns, rows)
    weight = linear.weight.detach().numpy()
    if format_ == "none":
        return linear
    if format_ == float8.FLOAT8:
        layer: Any = Float8Linear(linear)
        packed, scale = float8.round_weight(weight)
        layer.weight_packed = torch.from_numpy(packed).view(torch.float8_e4m3fn)
        layer.weight_scale = torch.from_numpy(scale)
        return layer
    bits, is_scaled = BITS[format_], format_ == "int4_awq"
    quantization = Quantization(format=format_, bits=bits, block_size=block_size, modules=())
    layer = BlockLinear(linear, quantization, is_scaled=is_scaled)
    if is_scaled:
        layer.pre_quant_scale = torch.rand(columns) + 0.5
        weight = weight / layer.pre_quant_scale.numpy()
    packed, scale = BlockQuantizer(bits=bits, block_size=block_size).pack(weight)
    layer.weight_packed = torch.from_numpy(packed)
    layer.weight_scale = torch.from_numpy(scale).view(layer.weight_scale.shape)
    return layer
