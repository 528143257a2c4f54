"""Two outputs side by side: which files differ, and where a file first does.

Owns bytes and tensors; what an engine answers is another matter.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mmtrt.artifacts.manifest import FileEntry

_CHUNK_BYTES = 1 << 20
_MAX_HEADER_BYTES = 100 << 20
"""As safetensors itself has it (``MAX_HEADER_SIZE``)."""

What = Literal["missing", "added", "differs"]


@dataclass(frozen=True, slots=True)
class FileDifference:
    """One file that is not the same in both outputs."""

    path: str
    what: What
    old_size: int | None = None
    new_size: int | None = None
    old_digest: str | None = None
    new_digest: str | None = None
    detail: str | None = None
    """Where it first differs: a tensor, a field, a byte."""


def compare_files(old: Iterable[FileEntry], new: Iterable[FileEntry]) -> list[FileDifference]:
    """Return the files that differ by content, sorted by path; times do not count."""
    before, after = {e.path: e for e in old}, {e.path: e for e in new}
    found = []
    for path in sorted(before.keys() | after.keys()):
        was, now = before.get(path), after.get(path)
        if was is None or now is None or was.digest != now.digest:
            found.append(
                FileDifference(
                    path,
                    "added" if was is None else "missing" if now is None else "differs",
                    None if was is None else was.size,
                    None if now is None else now.size,
                    None if was is None else was.digest,
                    None if now is None else now.digest,
                )
            )
    return found


def first_difference_in(old: Path, new: Path) -> str | None:
    """Return in words where two files first differ; ``None`` if they do not.

    Safetensors files are compared tensor by tensor, JSON files field by field, others by bytes.

    Raises:
        OSError: if one of them cannot be read.
    """
    at = _first_byte(old, new)
    if at is None:
        return None
    try:
        if old.suffix == new.suffix == ".safetensors":
            return _first_tensor(old, new)
        if old.suffix == new.suffix == ".json":
            return _first_field(json.loads(old.read_bytes()), json.loads(new.read_bytes()))
    except (ValueError, KeyError, TypeError, RecursionError):
        pass  # not what the name says
    return f"byte {at} of {old.stat().st_size} and {new.stat().st_size}"


def _first_byte(old: Path, new: Path) -> int | None:
    offset = 0
    with old.open("rb") as one, new.open("rb") as other:
        while True:
            a, b = one.read(_CHUNK_BYTES), other.read(_CHUNK_BYTES)
            if a != b:
                common = min(len(a), len(b))
                return offset + next((i for i in range(common) if a[i] != b[i]), common)
            if not a:
                return None
            offset += len(a)


def _first_tensor(old: Path, new: Path) -> str:
    before, start_before = _header(old)
    after, start_after = _header(new)
    for name in sorted(before.keys() | after.keys()):
        was, now = before.get(name), after.get(name)
        if was is None or now is None:
            return f"tensor {name} is {'new' if was is None else 'missing'}"
        if name == "__metadata__":
            if was != now:
                return f"metadata: {_first_field(was, now)}"
            continue
        for what in ("dtype", "shape"):
            if was[what] != now[what]:
                return f"tensor {name}: {what} {was[what]} and {now[what]}"
        sizes = [row["data_offsets"][1] - row["data_offsets"][0] for row in (was, now)]
        with old.open("rb") as one, new.open("rb") as other:
            one.seek(start_before + was["data_offsets"][0])
            other.seek(start_after + now["data_offsets"][0])
            at = _first_byte_of(one, other, min(sizes))
        if at is not None:
            width = max(1, sizes[0] // max(1, _count(was["shape"])))
            return f"tensor {name}: element {at // width} of {_count(was['shape'])}"
    return "the order of the tensors"


def _first_byte_of(one: Any, other: Any, size: int) -> int | None:
    offset = 0
    while offset < size:
        wanted = min(_CHUNK_BYTES, size - offset)
        a, b = one.read(wanted), other.read(wanted)
        if a != b:
            return offset + next(i for i in range(len(a)) if a[i] != b[i])
        offset += wanted
    return None


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """Return the header of a safetensors file and where its data begins.

    Source: the format's own description: eight bytes of length, little endian, then JSON.
    """
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        if size > _MAX_HEADER_BYTES:
            raise ValueError("not a safetensors header")
        header = json.loads(file.read(size))
    if not isinstance(header, dict):
        raise TypeError("not a safetensors header")
    return header, 8 + size


def _count(shape: Iterable[int]) -> int:
    count = 1
    for side in shape:
        count *= side
    return count


def _first_field(old: Any, new: Any) -> str:
    path, was, now = next(fields_that_differ(old, new), ("", None, None))
    return f"{path or 'the text'}: {_short(was)} and {_short(now)}" if path else "the layout alone"


def fields_that_differ(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (dotted path, old, new) of every leaf in which two JSON documents differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            below = f"{path}.{key}" if path else str(key)
            yield from fields_that_differ(old.get(key), new.get(key), below)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (was, now) in enumerate(zip(old, new)):
            yield from fields_that_differ(was, now, f"{path}[{index}]")
    elif old != new:
        yield path, old, new


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 48 else f"{text[:45]}..."
