"""The tensors of a quantized component: rounded weights, their scales, and the scales of inputs.

A linear module's ``weight`` becomes ``weight_packed`` and ``weight_scale``; where its input is
scaled, ``pre_quant_scale`` is beside them. Layouts are those of the operators that take them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from mmtrt.native import float8
from mmtrt.native.block_quantization import BlockQuantizer, PackedShape, read_weight
from mmtrt.native.component import Quantization
from mmtrt.native.safetensors_file import PlannedTensor, StoredTensor
from mmtrt.native.smoothquant import round_weight


def packed_tensors(
    tensors: Mapping[str, StoredTensor], quantization: Quantization, scales: Mapping[str, Any]
) -> Iterator[PlannedTensor]:
    """Yield all tensors of a component, with the packed ones in the place of their weights.

    A weight's scales follow its integers, so that it is rounded once.

    Args:
        tensors: of the component as it was converted.
        quantization: which modules are packed, and how.
        scales: module -> what its input is multiplied by, float32 ``[K]``.
    """
    quantizer = BlockQuantizer(bits=quantization.bits, block_size=quantization.block_size)
    modules = set(quantization.modules)
    for name in sorted(tensors):
        tensor = tensors[name]
        module = name.removesuffix(".weight")
        if module not in modules or module == name:
            yield PlannedTensor(name, tensor.dtype, tensor.shape, tensor.chunks)
            continue
        outputs, inputs = tensor.shape
        if quantization.block_size:
            shape = PackedShape.of(
                outputs, inputs, bits=quantization.bits, block_size=quantization.block_size
            )
            weight = _PackOnce(tensor, scales.get(module), quantizer.pack)
            yield PlannedTensor(f"{name}_packed", "U8", shape.packed, weight.packed)
            yield PlannedTensor(f"{name}_scale", "F32", shape.scale, weight.scale)
        elif quantization.format == float8.FLOAT8:
            weight = _PackOnce(tensor, scales.get(module), float8.round_weight)
            yield PlannedTensor(f"{name}_packed", "F8_E4M3", tensor.shape, weight.packed)
            yield PlannedTensor(f"{name}_scale", "F32", (outputs,), weight.scale)
        else:
            weight = _PackOnce(tensor, scales.get(module), round_weight)
            yield PlannedTensor(f"{name}_packed", "I8", (inputs, outputs), weight.packed)
            yield PlannedTensor(f"{name}_scale", "F32", (outputs,), weight.scale)
        if module in scales:
            scale = scales[module]
            yield PlannedTensor(
                f"{module}.pre_quant_scale", "F32", (inputs,), partial(_bytes, scale)
            )


def _bytes(array: Any) -> list[memoryview]:
    return [memoryview(array).cast("B")]


class _PackOnce:
    """Holds a weight's scales between the writing of its integers and of the scales."""

    def __init__(
        self, tensor: StoredTensor, pre_quant_scale: Any, pack: Callable[[Any], tuple[Any, Any]]
    ) -> None:
        self._tensor, self._pre_quant_scale, self._pack = tensor, pre_quant_scale, pack
        self._scale: Any = None

    def packed(self) -> Iterator[memoryview]:
        weight = read_weight(self._tensor)
        if self._pre_quant_scale is not None:
            weight /= self._pre_quant_scale
        integers, self._scale = self._pack(weight)
        yield memoryview(integers).cast("B")

    def scale(self) -> Iterator[memoryview]:
        scale, self._scale = self._scale, None
        yield memoryview(scale).cast("B")
