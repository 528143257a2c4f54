"""Short progress lines on stderr; stdout stays free for results."""

from __future__ import annotations

import sys


def say(line: str) -> None:
    """Print one progress line."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - progress is this function's purpose


def mebibytes(size_bytes: int) -> str:
    """Return a size as people read it, such as ``1.3 MiB``."""
    return f"{size_bytes / 2**20:.1f} MiB"
