"""Sizes of pictures and lengths of sounds, read from their headers without any library."""

from __future__ import annotations

import struct
from pathlib import Path

from mmtrt.fake.failure import ToolFailure

PNG = b"\x89PNG\r\n\x1a\n"
STARTS_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def size(path: str) -> tuple[int, int]:
    """Return (height, width) of a local picture.

    Raises:
        ToolFailure: as PIL fails where there is no file, or no picture in it.
    """
    try:
        content = Path(path).read_bytes()
    except OSError:
        missing = f"[Errno 2] No such file or directory: '{path}'"
        raise ToolFailure("FileNotFoundError", missing) from None
    found = _png(content) or _jpeg(content)
    if found is None:
        raise ToolFailure("PIL.UnidentifiedImageError", f"cannot identify image file '{path}'")
    return found


def _png(content: bytes) -> tuple[int, int] | None:
    if not content.startswith(PNG) or len(content) < 24:
        return None
    width, height = struct.unpack(">II", content[16:24])
    return height, width


def _jpeg(content: bytes) -> tuple[int, int] | None:
    place = 2
    if not content.startswith(b"\xff\xd8"):
        return None
    while place + 9 < len(content):
        if content[place] != 0xFF:
            place += 1
            continue
        marker = content[place + 1]
        if marker in STARTS_OF_FRAME:
            height, width = struct.unpack(">HH", content[place + 5 : place + 9])
            return height, width
        if marker == 0xFF or 0xD0 <= marker <= 0xD9 or marker == 1:
            place += 1 if marker == 0xFF else 2
            continue
        place += 2 + int(struct.unpack(">H", content[place + 2 : place + 4])[0])
    return None


def wav_seconds(path: str) -> float:
    """Return the length of a local sound; one second for anything but a plain WAV file.

    Raises:
        ToolFailure: as soundfile fails where there is no file.
    """
    try:
        content = Path(path).read_bytes()
    except OSError:
        raise ToolFailure(
            "soundfile.LibsndfileError", f"Error opening '{path}': System error."
        ) from None
    if content[:4] != b"RIFF" or content[8:16] != b"WAVEfmt " or len(content) < 44:
        return 1.0
    bytes_per_second = struct.unpack("<I", content[28:32])[0]
    return (len(content) - 44) / bytes_per_second if bytes_per_second else 1.0
