"""Tell weights that are whole from pointers, stumps and gaps, by reading headers only.

It checks files that are on disk already; nothing here fetches or repairs.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from mmtrt.artifacts.weights import (
    INDEX_SUFFIX,
    is_lfs_pointer,
    is_passed_over,
    shard_names,
)
from mmtrt.tasks.messages import TaskError, listed, quoted

__all__ = ["check_weights", "is_lfs_pointer", "missing_shards", "safetensors_problem"]

HEADER_MAX_BYTES = 100_000_000
"""Longest header that the safetensors library reads. Source: safetensors ``MAX_HEADER_SIZE``."""


def check_weights(
    files: Mapping[str, Path], wants: Callable[[str], bool], fixes: Mapping[str, str]
) -> None:
    """Check every file of a model; ``files`` maps names inside the model to where they lie.

    Args:
        files: The files that will be handed on.
        wants: Whether the recipe wants a file of this name; an index whose shards are not wanted
            at all (a model fetched for its tokenizer) is no mistake.
        fixes: What the user can do, by code.

    Raises:
        TaskError: MDL115, MDL116 and MDL117, one for each kind of damage, all together.
    """
    pointers = [name for name, path in files.items() if is_lfs_pointer(path)]
    stumps = {
        name: problem
        for name, path in files.items()
        if name.endswith(".safetensors")
        and name not in pointers
        and (problem := safetensors_problem(path))
    }
    stumps |= {
        name: problem
        for name, path in files.items()
        if name.endswith(INDEX_SUFFIX)
        and name not in pointers
        and (problem := _index_problem(path))
    }
    missing = [
        shard
        for name, path in files.items()
        if name.endswith(INDEX_SUFFIX) and name not in pointers and name not in stumps
        if not is_passed_over(name, files)
        for shard in missing_shards(name, path, files, wants)
    ]
    failures = []
    if pointers:
        failures.append(
            TaskError(
                f"Git LFS pointers instead of files: {listed(pointers)}",
                code="MDL115",
                why="they only name the real file, as in a clone made without git-lfs",
                fix=fixes["MDL115"],
            )
        )
    if stumps:
        name, problem = next(iter(stumps.items()))
        failures.append(
            TaskError(
                f"broken safetensors files: {listed(list(stumps))}",
                code="MDL116",
                why=f"`{quoted(name)}` {problem}",
                fix=fixes["MDL116"],
            )
        )
    if missing:
        failures.append(
            TaskError(
                f"shards named by the index are missing: {listed(missing)}",
                code="MDL117",
                why="the weights are whole only with all of them",
                fix=fixes["MDL117"],
            )
        )
    if failures:
        first, *rest = failures
        first.also.extend(rest)
        raise first


def safetensors_problem(path: Path) -> str | None:
    """Compare the header of a safetensors file with its size; the tensors are not read.

    Returns:
        What is wrong, as the rest of a sentence that begins with the file's name, or None.
    Source: https://github.com/huggingface/safetensors, README section "Format".
    """
    size = path.stat().st_size
    if size < 8:
        return f"has {size} bytes, fewer than the 8 that a header begins with"
    with path.open("rb") as file:
        (header_bytes,) = struct.unpack("<Q", file.read(8))
        if header_bytes > HEADER_MAX_BYTES:
            return f"does not begin like a safetensors file: a header of {header_bytes} bytes"
        if header_bytes > size - 8:
            return f"ends inside its header: {size} bytes of at least {header_bytes + 8}"
        text = file.read(header_bytes)
    try:
        header = json.loads(text)
        tensors = [info for name, info in header.items() if name != "__metadata__"]
        spans = [(int(info["data_offsets"][0]), int(info["data_offsets"][1])) for info in tensors]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return "has a garbled header"
    if any(not 0 <= begin <= end for begin, end in spans):
        return "has a garbled header: a tensor that ends before it begins"
    needed = 8 + header_bytes + max((end for _, end in spans), default=0)
    if size < needed:
        return f"is cut short: {size} of {needed} bytes"
    if size > needed:
        return f"is longer than its header says: {size} instead of {needed} bytes"
    return None


def missing_shards(
    index: str, path: Path, files: Mapping[str, Path], wants: Callable[[str], bool]
) -> list[str]:
    """Return the shards that an index names and ``files`` lacks.

    An index of weights that nobody asked for has no missing shards.
    """
    folder = PurePosixPath(index).parent
    shards = sorted({(folder / shard).as_posix() for shard in shard_names(path)})
    missing = [shard for shard in shards if shard not in files]
    asked_for = len(missing) < len(shards) or any(wants(shard) for shard in missing)
    return missing if asked_for else []


def _index_problem(path: Path) -> str | None:
    try:
        shard_names(path)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return "is no index: it has no weight_map from tensor to file"
    return None
