"""Safetensors files as streams of bytes: header first, then one tensor after the other.

The library's own writer wants all tensors in memory at once; a checkpoint can be larger than that.
Owns the format, knows nothing of models or of numbers.

Source: github.com/huggingface/safetensors README, section "Format" (8 bytes of header length,
little endian; JSON header of at most 100 MB; byte buffer without holes).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mmtrt.native.errors import NativeError

ITEM_BYTES: Mapping[str, int] = {
    "F64": 8, "I64": 8, "U64": 8,
    "F32": 4, "I32": 4, "U32": 4,
    "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
    "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip
"""Bytes of one element by the format's own type name."""

CHUNK_BYTES = 8 << 20
"""Bytes in memory per copied piece. *Chosen*: larger ones are not faster on a local disk."""

_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 100_000_000


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in a file: where its bytes are."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    path: Path
    offset: int
    """Bytes from the start of the file."""
    size_bytes: int

    def chunks(self) -> Iterator[memoryview]:
        """Yield the tensor's bytes in pieces; a piece is only valid until the next one."""
        buffer = memoryview(bytearray(min(CHUNK_BYTES, max(self.size_bytes, 1))))
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.offset)
            left = self.size_bytes
            while left:
                # A short read would misalign the elements: fill the piece before handing it on.
                piece = buffer[: min(left, len(buffer))]
                filled = 0
                while filled < len(piece):
                    count = file.readinto(piece[filled:])
                    if not count:
                        raise NativeError(f"{self.path}: ends inside {self.name}", code="MDL205")
                    filled += count
                yield piece
                left -= len(piece)


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """A tensor to be written; its bytes are asked for when their turn comes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    chunks: Callable[[], Iterable[bytes | memoryview]]

    @property
    def size_bytes(self) -> int:
        """Bytes that ``chunks`` must yield."""
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]


def read_header(path: Path) -> dict[str, StoredTensor]:
    """Return the tensors of a file by name, without reading their bytes.

    Raises:
        NativeError: MDL205, if the file is cut short or is no safetensors file.
    """
    try:
        return _parse_header(path)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NativeError(
            f"{path}: not a safetensors file, or cut short ({error})",
            code="MDL205",
            fix="download the file again",
        ) from error


def _parse_header(path: Path) -> dict[str, StoredTensor]:
    file_bytes = path.stat().st_size
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        start = _LENGTH_BYTES + header_bytes
        if header_bytes > _MAX_HEADER_BYTES or start > file_bytes or file_bytes < _LENGTH_BYTES:
            raise ValueError(f"header of {header_bytes} bytes in a file of {file_bytes}")
        header = json.loads(file.read(header_bytes))
    tensors: dict[str, StoredTensor] = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        dtype, shape = entry["dtype"], tuple(int(side) for side in entry["shape"])
        begin, end = entry["data_offsets"]
        if dtype not in ITEM_BYTES:
            raise ValueError(f"{name} has the unknown type {dtype}")
        if end - begin != math.prod(shape) * ITEM_BYTES[dtype] or begin < 0:
            raise ValueError(f"{name} has {end - begin} bytes for shape {list(shape)} of {dtype}")
        if start + end > file_bytes:
            raise ValueError(f"{name} lies beyond the end of the file")
        tensors[name] = StoredTensor(name, dtype, shape, path, start + begin, end - begin)
    return tensors


def write_tensors(path: Path, tensors: Iterable[PlannedTensor], *, keep_order: bool = False) -> int:
    """Write a file one tensor at a time and return its size in bytes; equal tensors, equal bytes.

    Memory stays at what one tensor's ``chunks`` holds. An exception leaves a partial file behind:
    the executor only publishes the output of a stage that succeeded.

    Args:
        path: the file, replaced if it is there.
        tensors: what to write.
        keep_order: ask for the chunks in the given order. By default the file has the order of
            the reference writer: widest elements first, so that every tensor is aligned.
    """
    ordered = list(tensors)
    if not keep_order:
        ordered.sort(key=lambda tensor: (-ITEM_BYTES[tensor.dtype], tensor.name))
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in ordered:
        begin, end = end, end + tensor.size_bytes
        header[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    # The old file may be linked into another checkpoint: replace it, do not write into it.
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(_LENGTH_BYTES, "little"))
        file.write(encoded)
        for tensor in ordered:
            written = sum(file.write(chunk) for chunk in tensor.chunks())
            if written != tensor.size_bytes:
                raise ValueError(f"{tensor.name}: {written} bytes for {tensor.size_bytes}")
    return _LENGTH_BYTES + len(encoded) + end
