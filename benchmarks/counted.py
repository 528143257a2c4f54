"""Counts how often contents are hashed: ``python -m benchmarks.counted FILE WORDS...``."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from mmtrt.artifacts import digest


@contextlib.contextmanager
def counted() -> Iterator[Callable[[], int]]:
    """Count the files that this process hashes; yields a function that tells how many so far."""
    seen: list[str] = []
    original = digest.hash_file

    def hash_file(path: str | os.PathLike[str]) -> str:
        seen.append(os.fspath(path))
        return original(path)

    digest.hash_file = hash_file
    try:
        yield lambda: len(seen)
    finally:
        digest.hash_file = original


def main() -> int:
    """Run an ``mmtrt`` command line and write the count to a file."""
    from mmtrt.cli import dispatch

    with counted() as count:
        code = dispatch(sys.argv[2:])
    Path(sys.argv[1]).write_text(str(count()))
    return code


if __name__ == "__main__":
    sys.exit(main())
