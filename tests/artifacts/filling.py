"""Fills stores: what a stage would have written, published under a key of its own."""

from __future__ import annotations

import os
import pathlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmtrt.artifacts.keys import key_of
from mmtrt.artifacts.staging import Staging
from mmtrt.artifacts.store import Artifact, Store

FIELDS: dict[str, Any] = {
    "command": {"argv": ["python", "convert.py"], "cwd": None, "env": {}},
    "host": {"hostname": "box"},
    "seconds": 1.5,
    "peak_rss_bytes": 1 << 20,
    "backend": "native",
    "fake": False,
    "stage": "convert",
}
FILES = {"config.json": b"{}", "weights/model.bin": b"w" * 5000}
HOSTILE = ("two words", "it's", 'say "x"', "line\nbreak", "naïve-模型", "-rf", "$(x)", "a\\b", "*")


def document(number: object = 0) -> dict[str, Any]:
    return {"schema": 1, "params": {"number": number}}


def key(number: object = 0) -> str:
    return key_of(document(number))


def write(directory: Path, files: dict[str, bytes]) -> None:
    for path, content in files.items():
        place = directory / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)


def stage(
    store: Store, number: object = 0, *, kind: str = "convert", name: str = "tiny"
) -> Staging:
    return store.open_staging(kind, key(number), name)


def publish(store: Store, staging: Staging, number: object = 0, **changes: Any) -> Artifact:
    return store.publish(staging, key_document=document(number), **(FIELDS | changes))


def fill(
    store: Store,
    number: object = 0,
    files: dict[str, bytes] | None = None,
    *,
    kind: str = "convert",
    name: str = "tiny",
) -> Artifact:
    staging = stage(store, number, kind=kind, name=name)
    staging.stdout.write_text("converting\n")
    write(staging.path, FILES if files is None else files)
    return publish(store, staging, number)


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def overwrite(path: Path, content: bytes) -> None:
    """Write to a file that the store made read-only."""
    path.chmod(0o644)
    path.write_bytes(content)


def tamper(path: Path, content: bytes) -> None:
    """Change a file's content so that size and time stay what they were."""
    before = path.stat()
    overwrite(path, content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def replace_in_os(
    name: str, function: Callable[..., Any], setter: Callable[[Any, str, Any], object] = setattr
) -> None:
    """Replace a function of ``os`` for ``pathlib``, too, which in Python 3.10 has its own copy."""
    accessor = getattr(pathlib, "_NormalAccessor", None)
    is_a_copy = getattr(accessor, name, None) is getattr(os, name)
    setter(os, name, function)
    if is_a_copy:
        setter(accessor, name, staticmethod(function))
