"""What a weight file's first bytes and an index's names tell, without reading tensors."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from pathlib import Path

SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".nemo", ".gguf")
"""Kinds of file that hold weights."""

LFS_FIRST_LINE = b"version https://git-lfs"
LFS_MAX_BYTES = 1024
"""A pointer must be smaller than this. Source: git-lfs docs/spec.md."""
INDEX_SUFFIX = ".safetensors.index.json"


def is_passed_over(index: str, names: Collection[str]) -> bool:
    """Return whether an index is not read, because the weights lie beside it in one file.

    Source: transformers 5.23, ``modeling_utils._get_resolved_checkpoint_files``.
    """
    return index.removesuffix(".index.json") in names


def asked_for(include: Iterable[str]) -> list[str]:
    """Return those of a recipe's include patterns that ask for weights."""
    return [pattern for pattern in include if pattern.endswith(SUFFIXES)]


def is_without(names: Iterable[str], include: Iterable[str]) -> bool:
    """Return whether weights were asked for, and none are among the files of these names."""
    return bool(asked_for(include)) and not any(name.endswith(SUFFIXES) for name in names)


def is_lfs_pointer(path: Path) -> bool:
    """Return whether this is the stand-in that git checks out when git-lfs is not installed."""
    if path.stat().st_size >= LFS_MAX_BYTES:
        return False
    with path.open("rb") as file:
        return file.read(len(LFS_FIRST_LINE)) == LFS_FIRST_LINE


def shard_names(index: Path) -> set[str]:
    """Return the files that an index names, relative to its own directory.

    Raises:
        ValueError, TypeError, KeyError, AttributeError, RecursionError: for what is no index.
    """
    names = set(json.loads(index.read_bytes())["weight_map"].values())
    if not all(isinstance(name, str) for name in names):
        raise TypeError("a shard's name is not text")
    return names
