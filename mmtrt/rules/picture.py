"""Sizes of local pictures, read from their first bytes without any library."""

from __future__ import annotations

import struct
from pathlib import Path

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8"
GIF = (b"GIF87a", b"GIF89a")
STARTS_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG markers whose segment begins with precision, height and width (ITU-T T.81, table B.1)."""
HEADER_BYTES = 1 << 20
"""*Chosen*: thumbnails and colour profiles before the frame of a JPEG take less."""


def size_of(place: str) -> tuple[int, int] | None:
    """Return (height, width) in pixels; ``None`` for anything but a PNG, JPEG or GIF file."""
    try:
        with Path(place).open("rb") as file:
            content = file.read(HEADER_BYTES)
        return _png(content) or _jpeg(content) or _gif(content)
    except (OSError, ValueError, struct.error):
        return None


def _png(content: bytes) -> tuple[int, int] | None:
    if not content.startswith(PNG):
        return None
    width, height = struct.unpack_from(">II", content, 16)
    return (height, width) if height and width else None


def _gif(content: bytes) -> tuple[int, int] | None:
    if not content.startswith(GIF):
        return None
    width, height = struct.unpack_from("<HH", content, 6)
    return (height, width) if height and width else None


def _jpeg(content: bytes) -> tuple[int, int] | None:
    if not content.startswith(JPEG):
        return None
    place = len(JPEG)
    while True:
        start, marker = struct.unpack_from(">BB", content, place)
        if start != 0xFF:
            return None
        if marker in STARTS_OF_FRAME:
            height, width = struct.unpack_from(">HH", content, place + 5)
            return (height, width) if height and width else None
        alone = marker in (0x01, 0xFF) or 0xD0 <= marker <= 0xD9
        if marker == 0xFF:
            place += 1
        elif alone:
            place += 2
        else:
            place += 2 + struct.unpack_from(">H", content, place + 2)[0]
