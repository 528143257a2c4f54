"""Digests of a model's files as a hub announces them, and files held against those of a lock.

``sha256:`` is the content's, as Git LFS has it; ``git-sha1:`` the name of the git object, which is
all that a hub tells of a small file; ``blake3:`` the content's, as mmtrt's store has it.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mmtrt.tasks.hub_listing import RemoteFile
from mmtrt.tasks.messages import TaskError, listed

CHUNK_BYTES = 1 << 20
THREADS = 4
"""Chosen: four of SHA-256 read as fast as a disk does."""


def digest_of(file: RemoteFile) -> str | None:
    """Return the digest that the hub announces, with the name of its algorithm."""
    if file.sha256:
        return f"sha256:{file.sha256}"
    if file.git_oid and re.fullmatch(r"[0-9a-f]{40}", file.git_oid):
        return f"git-sha1:{file.git_oid}"
    return None


def parse_expected(text: str) -> tuple[str, str]:
    """Return name and digest of ``sha256:...=model.safetensors``."""
    digest, _, name = text.partition("=")
    algorithm, _, value = digest.partition(":")
    if algorithm not in _ALGORITHMS or not re.fullmatch(r"[0-9a-f]{40,64}", value) or not name:
        raise argparse.ArgumentTypeError(f"{text!r} does not read like sha256:<digits>=config.json")
    return name, digest


def check_digests(files: Mapping[str, Path], expected: Mapping[str, str]) -> None:
    """Hold the content of every file against its digest; nothing that a cache says counts.

    Raises:
        TaskError: MDL119.
    """
    unknown = [name for name in files if name not in expected]
    known = [name for name in files if name in expected]
    with ThreadPoolExecutor(THREADS) as pool:  # hashing lets other threads run
        same = pool.map(lambda name: _is(files[name], expected[name]), known)
        other = [name for name, is_same in zip(known, same) if not is_same]
    gone = [name for name in expected if name not in files]
    told = (
        ("other content than in the lock", other),
        ("not in the lock", unknown),
        ("in the lock and not among the wanted files", gone),
    )
    found = [f"{what}: {listed(names)}" for what, names in told if names]
    if found:
        raise TaskError(
            "the files are not those of the lock",
            code="MDL119",
            why="; ".join(found),
            fix="if the hub may be trusted: mmtrt lock --upgrade with the overrides of this run",
        )


def _is(path: Path, digest: str) -> bool:
    algorithm, _, value = digest.partition(":")
    return _ALGORITHMS[algorithm](path) == value


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while data := file.read(CHUNK_BYTES):
            yield data


def _sha256(path: Path) -> str:
    hasher = hashlib.sha256()
    for data in _chunks(path):
        hasher.update(data)
    return hasher.hexdigest()


def _git_sha1(path: Path) -> str:
    hasher = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    for data in _chunks(path):
        hasher.update(data)
    return hasher.hexdigest()


def _blake3(path: Path) -> str:
    from blake3 import blake3

    hasher = blake3()
    for data in _chunks(path):
        hasher.update(data)
    return str(hasher.hexdigest())


_ALGORITHMS: dict[str, Callable[[Path], str]] = {
    "sha256": _sha256,
    "git-sha1": _git_sha1,
    "blake3": _blake3,
}
