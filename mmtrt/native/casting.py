"""Casts between floating point types piece by piece, so that memory does not grow with the tensor.

numpy has no bfloat16; its bits are the upper half of a float32, which is all that is used here.
Every cast rounds to nearest even, as torch does, so converted weights equal ``tensor.to(dtype)``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmtrt.native.errors import NativeError
from mmtrt.native.safetensors_file import ITEM_BYTES, PlannedTensor, StoredTensor

STORED_NAME = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
"""Type name of the command line to type name of the file format."""

DTYPE_NAME = {stored: name for name, stored in STORED_NAME.items()}
"""The reverse: type name of the file format to type name of the command line."""

FLOATS = ("F64", "F32", "F16", "BF16")
"""Types of the file format that a weight may be stored in."""
_BF16_SHIFT = 16
_BF16_NAN = 0x7FC0


def cast_tensor(
    tensor: StoredTensor | PlannedTensor, name: str, dtype: str | None
) -> PlannedTensor:
    """Plan a tensor's copy under a new name; ``dtype`` ``None`` keeps it, integers are always kept.

    Raises:
        NativeError: MDL206 while writing, if a finite value does not fit the new type.
    """
    if dtype is None or dtype == tensor.dtype or tensor.dtype not in FLOATS:
        return PlannedTensor(name, tensor.dtype, tensor.shape, tensor.chunks)
    return PlannedTensor(name, dtype, tensor.shape, lambda: _cast_chunks(tensor, dtype))


def _cast_chunks(tensor: StoredTensor | PlannedTensor, dtype: str) -> Iterator[memoryview]:
    import numpy as np

    for chunk in tensor.chunks():
        wide = to_float32(chunk, tensor.dtype)
        narrow = from_float32(wide, dtype)
        if dtype == "F16" and bool(np.any(np.isinf(narrow) & np.isfinite(wide))):
            raise NativeError(
                f"{tensor.name} holds values that float16 cannot hold",
                code="MDL206",
                why="float16 ends at 65504",
                fix="use --dtype bfloat16 or float32",
            )
        yield memoryview(narrow).cast("B")


def to_float32(chunk: bytes | memoryview, dtype: str) -> Any:
    """Return raw elements as a float32 array ``[n]``."""
    import numpy as np

    if dtype == "BF16":
        bits = np.frombuffer(chunk, dtype="<u2").astype(np.uint32) << np.uint32(_BF16_SHIFT)
        return bits.view(np.float32)
    with np.errstate(over="ignore"):
        return np.frombuffer(chunk, dtype=f"<f{ITEM_BYTES[dtype]}").astype(np.float32)


def from_float32(wide: Any, dtype: str) -> Any:
    """Return a float32 array rounded to ``dtype``; bfloat16 comes back as its bits (uint16)."""
    import numpy as np

    if dtype != "BF16":
        with np.errstate(over="ignore"):
            return wide.astype(f"<f{ITEM_BYTES[dtype]}")
    bits = wide.view(np.uint32)
    half = ((bits >> np.uint32(_BF16_SHIFT)) & np.uint32(1)) + np.uint32(0x7FFF)
    rounded = ((bits + half) >> np.uint32(_BF16_SHIFT)).astype("<u2")
    return np.where(np.isnan(wide), np.uint16(_BF16_NAN), rounded)
