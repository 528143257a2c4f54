"""Round weights to blocks of small integers with one scale each, by ONNX Runtime's own kernels.

Symmetric: the zero point is the middle of the range, so none is stored. That is what TensorRT-LLM's
weight-only formats do, and what TensorRT can read.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mmtrt.native.casting import to_float32
from mmtrt.native.safetensors_file import StoredTensor

BITS = {"int8_wo": 8, "int4_wo": 4, "int4_awq": 4}
"""Bits of a weight by the name of a format with blocks."""

DEFAULT_BLOCK_SIZE = {"int8_wo": 128, "int4_wo": 64, "int4_awq": 128}
"""By the format's name; ``mmtrt.backends.native_quant`` says why."""

BLOCK_SIZES = (16, 32, 64, 128, 256)
"""Block sizes of MatMulNBits. Source: onnxruntime 1.32, docs/ContribOperators.md."""

ACCURACY_LEVEL = {4: 1, 8: 4}
"""Arithmetic by the bits of a weight: 1 is float32, 4 rounds the activations to int8 as well.

4 bits have a fast float32 kernel, so the engine computes exactly what the rounded weights say. 8
bits have none: ONNX Runtime unpacks the whole weight at every call, *measured* 3 times slower than
unquantized (10 layers of 768, 2 cores, onnxruntime 1.32).
Source: MatMulNBits, onnxruntime 1.32, docs/ContribOperators.md.
"""


@dataclass(frozen=True)
class PackedShape:
    """Shapes of a packed weight; N: outputs, K: inputs of the linear layer."""

    packed: tuple[int, int, int]
    """uint8 ``[N, ceil(K / block), block * bits / 8]``."""
    scale: tuple[int, int]
    """float32 ``[N, ceil(K / block)]``."""

    @classmethod
    def of(cls, outputs: int, inputs: int, *, bits: int, block_size: int) -> PackedShape:
        """Return the shapes for a weight ``[N, K]``."""
        blocks = -(-inputs // block_size)
        return cls((outputs, blocks, block_size * bits // 8), (outputs, blocks))


class BlockQuantizer:
    """Packs one weight after the other."""

    def __init__(self, *, bits: int, block_size: int) -> None:
        self._bits = bits
        self._block_size = block_size

    @cached_property
    def _kernel(self) -> Any:
        from onnxruntime.quantization.matmul_nbits_quantizer import (
            DefaultWeightOnlyQuantConfig,
            DefaultWeightOnlyQuantizer,
        )

        config = DefaultWeightOnlyQuantConfig(
            block_size=self._block_size, is_symmetric=True, bits=self._bits
        )
        return DefaultWeightOnlyQuantizer(config)

    def pack(self, weight: Any) -> tuple[Any, Any]:
        """Return packed integers and scales of a linear weight, float32 ``[N, K]``."""
        import numpy as np

        # The kernel wants the operand of x @ W: [K, N].
        packed, scale, _ = self._kernel.qbits_block_quant(np.ascontiguousarray(weight.T))
        return packed, scale

    def unpack(self, packed: Any, scale: Any, *, inputs: int) -> Any:
        """Return the weight that the integers stand for, float32 ``[N, K]``.

        Source: MatMulNBits, onnxruntime 1.32, docs/ContribOperators.md: the lower half of a byte
        comes first, the zero point is the middle of the range.
        """
        import numpy as np

        blocks: Any = np.empty((*packed.shape[:2], self._block_size), dtype=np.float32)
        if self._bits == 4:
            blocks[..., 0::2], blocks[..., 1::2] = packed & 15, packed >> 4
        else:
            blocks[...] = packed
        blocks -= 1 << (self._bits - 1)
        blocks *= scale.reshape(*packed.shape[:2], 1)
        return blocks.reshape(len(blocks), -1)[:, :inputs]


def read_weight(tensor: StoredTensor) -> Any:
    """Return a stored weight as float32 ``[N, K]``."""
    import numpy as np

    weight: Any = np.empty(tensor.shape, dtype=np.float32)
    flat, end = weight.reshape(-1), 0
    for chunk in tensor.chunks():
        piece = to_float32(chunk, tensor.dtype)
        flat[end : end + len(piece)] = piece
        end += len(piece)
    return weight
