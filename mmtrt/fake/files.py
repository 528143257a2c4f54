"""Write and read the files that the tools exchange; every one says that it is fake."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmtrt.fake.failure import ToolFailure

ENGINE_MARK = b"mmtrt fake engine\n"
LFS_MARK = b"version https://git-lfs"
MOST_HEADER_BYTES = 100_000_000
DIGESTED_BYTES = 1 << 20
"""Of larger files only the head and the size are looked at: stand-ins must be fast."""


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a marked JSON document; equal content gives equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"fake": True, **document}, indent=4, sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        ToolFailure: as Python's own ``open`` and ``json`` fail in the real tools.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        missing = f"[Errno 2] No such file or directory: '{path}'"
        raise ToolFailure("FileNotFoundError", missing) from None
    except ValueError as error:
        raise ToolFailure("json.decoder.JSONDecodeError", f"{error} ({path})") from None
    if not isinstance(found, dict):
        raise ToolFailure("TypeError", f"{path} holds no JSON object")
    return found


def safetensors(name: str, digest: str) -> bytes:
    """Return a valid safetensors file with one small tensor made of a digest."""
    data = bytes.fromhex(digest)[:32]
    header: dict[str, Any] = {
        "__metadata__": {"format": "pt", "fake": "true"},
        name: {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]},
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def damage(path: Path) -> str:
    """Return what is wrong with a safetensors file, nothing if it is whole.

    Source: safetensors ``tensor.rs``, ``SafeTensorError``.
    """
    with path.open("rb") as stream:
        head = stream.read(8)
        if len(head) < 8:
            return "HeaderTooSmall"
        length = struct.unpack("<Q", head)[0]
        if length > MOST_HEADER_BYTES:
            return "HeaderTooLarge"
        text = stream.read(length)
    if len(text) < length:
        return "InvalidHeaderLength"
    try:
        header = json.loads(text)
        rows = [row for name, row in header.items() if name != "__metadata__"]
        last = max((row["data_offsets"][1] for row in rows), default=0)
    except (ValueError, AttributeError, KeyError, TypeError, IndexError):
        return "InvalidHeaderDeserialization"
    return "" if path.stat().st_size == 8 + length + last else "MetadataIncompleteBuffer"


def write_safetensors(path: Path, name: str, digest: str) -> None:
    """Write what :func:`safetensors` returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(safetensors(name, digest))


def write_engine(path: Path, document: Mapping[str, Any]) -> None:
    """Write an engine: the mark, then what a stand-in must know of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(ENGINE_MARK + json.dumps(document, sort_keys=True).encode() + b"\n")


def read_engine(path: Path) -> dict[str, Any]:
    """Return what :func:`write_engine` wrote.

    Raises:
        ToolFailure: if it is missing or no stand-in wrote it.
    """
    try:
        content = path.read_bytes()
    except OSError:
        missing = f"[Errno 2] No such file or directory: '{path}'"
        raise ToolFailure("FileNotFoundError", missing) from None
    if not content.startswith(ENGINE_MARK):
        raise ToolFailure(
            "RuntimeError", f"Failed to deserialize cuda engine {path}: not a stand-in's engine"
        )
    found: dict[str, Any] = json.loads(content[len(ENGINE_MARK) :])
    return found


def digest(*parts: object) -> str:
    """Return the SHA-256 of JSON-like values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def content_digest(place: Path) -> str:
    """Return the digest of a file or of all files below a directory: names and content."""
    names = sorted(place.rglob("*")) if place.is_dir() else [place]
    found = hashlib.sha256()
    for path in names:
        if not path.is_file():
            continue
        name = os.fspath(path.relative_to(place)) if path != place else path.name
        with path.open("rb") as stream:
            head = stream.read(DIGESTED_BYTES)
        found.update(f"{name}\0{path.stat().st_size}\0".encode())
        found.update(hashlib.sha256(head).digest())
    return found.hexdigest()


def is_lfs_pointer(path: Path) -> bool:
    """Return whether a file is what ``git clone`` leaves when git-lfs is missing."""
    with path.open("rb") as stream:
        return stream.read(len(LFS_MARK)) == LFS_MARK
