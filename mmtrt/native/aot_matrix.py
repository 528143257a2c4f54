"""Matrices of a decoder: in one floating-point type, or packed as the checkpoint has them.

Legend of shapes: N outputs, K inputs, C blocks of inputs that share a scale, W words of a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mmtrt.native.errors import NativeError
from mmtrt.native.packed_linear import BlockLinear, PackedLinear

_WORD_BITS = 32


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """What a step multiplies by: ``x [..., K] -> (x * input_scale) @ matrix.T + bias [..., N]``.

    | weights | ``values`` | ``scale``, float32 |
    |---|---|---|
    | float32, float16, bfloat16 | ``[N, K]`` | |
    | float8 | float8_e4m3fn ``[N, K]`` | ``[N]`` |
    | int8, int4 in blocks | int32 ``[N, C W]`` | ``[N, C]`` |

    Words of blocks hold 4 or 8 unsigned integers of 8 or 4 bits whose zero is the middle of their
    range. The integers of one word are W columns apart, the lowest first: those at the same place
    of neighbouring words are neighbours, so what they are multiplied by is read in one piece.
    """

    values: torch.Tensor
    columns: int
    """K."""
    bias: torch.Tensor | None = None
    """``[N]`` of the activations' type."""
    scale: torch.Tensor | None = None
    input_scale: torch.Tensor | None = None
    """float32 ``[K]``; see ``pre_quant_scale`` of ``packing``."""
    bits: int = 0
    """Of an integer in blocks; 0: none are."""
    block_size: int = 0
    """Columns that share a scale; 0: all of a row."""

    @classmethod
    def plain(cls, values: torch.Tensor) -> Matrix:
        """Return a matrix that is not packed."""
        return cls(values=values, columns=values.shape[1])

    @property
    def rows(self) -> int:
        """N."""
        return self.values.shape[0]

    @property
    def kind(self) -> tuple[int, ...]:
        """What the speed of a product depends on: shape, bytes of a value, bits, block size."""
        return (self.rows, self.columns, self.values.itemsize, self.bits, self.block_size)

    def dense(self, dtype: torch.dtype) -> torch.Tensor:
        """Return ``[N, K]`` in a floating-point type."""
        if self.scale is None:
            return self.values.to(dtype)
        if not self.bits:
            return (self.values.float() * self.scale[:, None]).to(dtype)
        shifts = torch.arange(0, _WORD_BITS, self.bits, dtype=torch.int32, device=self.scale.device)
        words = self.values.view(self.rows, self.scale.shape[1], 1, -1)
        integers = (words >> shifts[:, None]) & ((1 << self.bits) - 1)
        weights = (integers.float() - (1 << (self.bits - 1))) * self.scale[:, :, None, None]
        return weights.view(self.rows, -1)[:, : self.columns].to(dtype)


class MergedLinear(nn.Module):
    """Linear layers of one input as one matrix, whose rows are those of all in order.

    Unpacked weights are a parameter ``weight`` of the decoder's type. Packed ones keep what they
    are stored in: ``weight``, ``scale`` and, where there is one, ``input_scale``.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None
    scale: torch.Tensor | None
    input_scale: torch.Tensor | None

    def __init__(self, linears: Sequence[Any], *, dtype: torch.dtype, device: Any) -> None:
        """Take the weights; the originals may be freed afterwards.

        Args:
            linears: all ``nn.Linear``, or all of one class of ``packed_linear``.
            dtype: type of weights that are not packed, and of biases.
            device: where they will be.

        Raises:
            NativeError: QNT204, if the layers multiply their common input by different scales.
        """
        super().__init__()
        first = linears[0]
        self._bits = self._block_size = 0

        def joined(tensors: Sequence[torch.Tensor], to: torch.dtype | None = None) -> nn.Parameter:
            parts = [tensor.detach().to(device, to) for tensor in tensors]
            whole = torch.cat(parts) if len(parts) > 1 else parts[0]
            return nn.Parameter(whole.contiguous(), requires_grad=False)

        self.register_parameter("scale", None)
        self.register_parameter("input_scale", None)
        if isinstance(first, PackedLinear):
            self._columns: int = first.in_features
            packed = [each.weight_packed.detach().to(device) for each in linears]
            if isinstance(first, BlockLinear):
                self._bits, self._block_size = first.bits, first.block_size
                packed = [words_of(each, self._bits) for each in packed]
            self.weight = joined(packed)
            self.scale = joined([each.weight_scale for each in linears], torch.float32)
            scale = _common_scale(linears)
            self.input_scale = None if scale is None else joined([scale], torch.float32)
        else:
            self.weight = joined([each.weight for each in linears], dtype)
            # A rank's share of a layer still has the size of the whole written on it.
            self._columns = self.weight.shape[1]
        biased = first.bias is not None
        self.bias = joined([each.bias for each in linears], dtype) if biased else None

    @property
    def matrix(self) -> Matrix:
        """The matrix, for the steps of a graph."""
        return Matrix(
            values=self.weight,
            columns=self._columns,
            bias=self.bias,
            scale=self.scale,
            input_scale=self.input_scale,
            bits=self._bits,
            block_size=self._block_size,
        )


def words_of(packed: torch.Tensor, bits: int) -> torch.Tensor:
    """Return the words of a ``Matrix``, int32 ``[N, C W]``, from uint8 ``[N, C, bytes]``.

    Bytes are those of ``MatMulNBits``: columns in order, the lower half of a byte first.
    """
    rows, blocks, _ = packed.shape
    if bits == 4:
        packed = torch.stack((packed & 15, packed >> 4), -1)
    integers = packed.reshape(rows, blocks, _WORD_BITS // bits, -1)
    if bits == 4:
        integers = integers[:, :, 0::2] | (integers[:, :, 1::2] << 4)
    # Processors and GPUs that packages run on have the lowest byte of a word first.
    return integers.transpose(2, 3).contiguous().view(torch.int32).reshape(rows, -1)


def _common_scale(linears: Sequence[PackedLinear]) -> torch.Tensor | None:
    scales = [each.pre_quant_scale for each in linears]
    first = scales[0]
    for other in scales[1:]:
        if (first is None) != (other is None) or not (first is None or torch.equal(first, other)):
            raise NativeError(
                "layers that share their input multiply it by different scales",
                code="QNT204",
                why="their weights become one matrix, whose input is multiplied once",
                fix="quantize the checkpoint again",
            )
    return first
