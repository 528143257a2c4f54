"""Which number formats packages have arithmetic for."""

from __future__ import annotations

import torch

from mmtrt.native.component import Component
from mmtrt.native.errors import NativeError
from mmtrt.native.float8 import FLOAT8

FLOAT8_CAPABILITY = (8, 9)
"""Source: Triton 3.6, ``supported_fp8_dtypes`` of ``third_party/nvidia/backend/compiler.py``."""


def check_format(component: Component, device: str) -> None:
    """Refuse a number format that packages have no arithmetic for.

    Raises:
        NativeError: QNT205.
    """
    quantization = component.quantization
    if quantization is None:
        return
    if not quantization.block_size and quantization.format != FLOAT8:
        raise NativeError(
            f"aot_inductor cannot run {quantization.format} weights",
            code="QNT205",
            why="it has no products of integers with integers",
            fix="use engine=onnxruntime, or quant=int8_wo",
        )
    if quantization.format == FLOAT8 and device == "cuda":
        capability = torch.cuda.get_device_capability()
        if capability < FLOAT8_CAPABILITY:
            raise NativeError(
                f"this GPU cannot run {FLOAT8} weights: its compute capability is "
                f"{capability[0]}.{capability[1]}",
                code="QNT205",
                why="Triton converts float8 from 8.9 on",
                fix="use quant=int8_wo",
            )
