"""BLAKE3 digests of the files that an artifact was made from."""

from __future__ import annotations

from pathlib import Path


def file_digest(path: Path) -> str:
    """Return the BLAKE3 digest of a file's bytes as 64 hexadecimal digits."""
    from blake3 import blake3

    hasher = blake3(max_threads=blake3.AUTO)
    hasher.update_mmap(path) if path.stat().st_size else hasher.update(b"")
    return str(hasher.hexdigest())


def digests(directory: Path, names: list[str]) -> dict[str, str]:
    """Return name to digest for the named files of a directory."""
    return {name: file_digest(directory / name) for name in sorted(names)}
