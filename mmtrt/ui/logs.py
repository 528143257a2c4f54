"""A log from any byte on, as text that a page can append."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CHUNK_BYTES = 256 << 10
"""Most that one answer holds (*chosen*: a browser appends it without a pause)."""


@dataclass(frozen=True)
class Piece:
    """Part of a log."""

    text: str
    start: int
    """Byte at which it begins."""
    end: int
    """Byte at which the next piece begins."""


def piece(path: Path, start: int | None = None) -> Piece:
    """Return what a log holds from a byte on, its end where no byte is given.

    A character of several bytes is never cut. A file shorter than ``start`` (of a stage that was
    started again) is read from its beginning.

    Raises:
        OSError: if the log cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if start is None:
            start = max(0, size - CHUNK_BYTES)
        elif start > size or start < 0:
            start = 0
        file.seek(start)
        content = file.read(CHUNK_BYTES)
    if len(content) == CHUNK_BYTES and b"\n" in content:
        content = content[: content.rindex(b"\n") + 1]
    else:
        content = content[: len(content) - _cut(content)]
    text = content.decode("utf-8", errors="replace")
    return Piece(text, start, start + len(content))


def _cut(content: bytes) -> int:
    """Return how many bytes at the end begin a character that is not there in full."""
    for back in range(1, min(4, len(content)) + 1):
        byte = content[-back]
        if byte & 0b1100_0000 == 0b1000_0000:
            continue
        length = 1 if byte < 0x80 else 2 if byte >> 5 == 0b110 else 3 if byte >> 4 == 0b1110 else 4
        return back if length > back else 0
    return 0
