"""Flag a local model whose weights are not really there.

## What it checks
The files that the recipe takes of ``model.path``: Git LFS pointers in place of files, shards that
a safetensors index names and the directory lacks, and no weights at all. Names, sizes and first
bytes only.

## Why it matters
``git clone`` without git-lfs leaves small text files behind, and a copy that broke off lacks
shards. The tools find out when they load the weights.

## Example
    mmtrt check recipe=llava model.path=/models/llava-1.5-7b-hf     # cloned without git-lfs

## Use instead
    mmtrt check recipe=llava variant=7b

## Source
git-lfs ``docs/spec.md``; NVIDIA/TensorRT-LLM issue 2052 (shards of 135 bytes).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mmtrt.artifacts.faults import quoted
from mmtrt.artifacts.weights import (
    INDEX_SUFFIX,
    is_lfs_pointer,
    is_passed_over,
    shard_names,
)
from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding
from mmtrt.rules.local_model import local_downloads, wanted_files, wants
from mmtrt.stages import Download

WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".nemo")
CLONED = "they only name the real files, as in a clone made without git-lfs"


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error for each kind of damage."""
    for stage, directory in local_downloads(plan):
        try:
            damage = _damage(plan, stage, directory)
        except OSError:
            continue  # the download stage says what is wrong with the directory
        for message, why, fix in damage:
            yield _finding(plan, message, why, fix)
    for node in plan.active():
        if isinstance(node.stage, Download) and (name := node.stage.local_file) is not None:
            path = Path(name)
            if path.is_file() and is_lfs_pointer(path):
                yield _finding(
                    plan, f"a Git LFS pointer, not a file: {quoted(name)}", CLONED, _pull(path)
                )


def _damage(plan: Plan, stage: Download, directory: Path) -> list[tuple[str, str, str]]:
    """Return message, reason and fix for all that is wrong."""
    files = wanted_files(stage, directory)
    pointers = [name for name, path in files.items() if path.is_file() and is_lfs_pointer(path)]
    missing = [
        shard
        for name, path in files.items()
        if name.endswith(INDEX_SUFFIX) and name not in pointers and not is_passed_over(name, files)
        for shard in _missing(stage, name, path, files)
    ]
    elsewhere = "copy or save the model again, with all of its .safetensors files"
    found = []
    if pointers:
        found.append((f"Git LFS pointers, not files: {_some(pointers)}", CLONED, _pull(directory)))
    if missing:
        why = "the weights are whole only with all of them"
        found.append((f"shards that the index names are missing: {_some(missing)}", why, elsewhere))
    elif plan.choice.backend.name != "fake" and _takes_weights(stage) and not _weights(files):
        pickled = sorted(p.name for p in directory.iterdir() if p.name.endswith(WEIGHTS[1:]))
        if pickled:
            why = "loading them may run any program, so the recipe takes .safetensors alone"
            found.append((f"only pickled weights: {_some(pickled)}", why, _save(directory)))
            return found
        why = f"there is no {', '.join(WEIGHTS)} file among those that the recipe takes"
        found.append((f"{quoted(str(directory))} holds no weights", why, elsewhere))
    return found


def _missing(stage: Download, index: str, path: Path, files: dict[str, Path]) -> list[str]:
    """Return the shards that are not there, of an index whose weights are wanted."""
    try:
        names = shard_names(path)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return []  # the download stage says that it is no index
    folder = PurePosixPath(index).parent
    shards = sorted((folder / name).as_posix() for name in names)
    return [shard for shard in shards if shard not in files and wants(stage, shard)]


def _takes_weights(stage: Download) -> bool:
    return any(wants(stage, f"model{suffix}") for suffix in WEIGHTS)


def _weights(files: dict[str, Path]) -> list[str]:
    return [name for name in files if name.endswith(WEIGHTS)]


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(quoted(name) for name in sorted(names)[:3]) + more


def _save(directory: Path) -> str:
    """Return what writes a model's weights anew, in its own directory."""
    code = (
        "import sys; from transformers import AutoModelForImageTextToText as M; "
        "M.from_pretrained(sys.argv[1], dtype='auto').save_pretrained(sys.argv[1])"
    )
    return f"python -c {shlex.quote(code)} {shlex.quote(str(directory))}   # if you trust it"


def _pull(path: Path) -> str:
    place = path if path.is_dir() else path.parent
    return f"git lfs install && git -C {shlex.quote(str(place))} lfs pull"


def _finding(plan: Plan, message: str, why: str, fix: str) -> Finding:
    at = plan.recipe.where(("model", "path"))
    return Finding(code="MDL104", severity="error", message=message, at=at, why=why, fix=fix)
