"""What a local picture is, by the library that the runtime opens it with: its size, or its fault.

No pixels are decoded: headers are read, and whether a PNG or JPEG file has its end. Without Pillow
(the extra ``native``) sizes are not known, and only what is no picture in any library is told.
"""

from __future__ import annotations

import os
import stat
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mmtrt.artifacts.weights import LFS_FIRST_LINE

TEXTS = (b"<!doctype", b"<html", b"<?xml", b"<svg", b"{", b"%pdf", LFS_FIRST_LINE)
"""How files begin that are saved in the place of a picture, in small letters."""
ENDS = {b"\x89PNG\r\n\x1a\n": b"IEND", b"\xff\xd8\xff": b"\xff\xd9"}
"""How a file begins -> what must come after its pixels."""
FIRST_BYTES = 512
SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that exchange height and width."""
ORIENTATION = 0x0112
DAMAGE = (
    *(OSError, SyntaxError, ValueError, TypeError, LookupError, AttributeError),
    *(ArithmeticError, RuntimeError, EOFError, MemoryError, struct.error),
)
"""What Pillow's readers raise at damaged headers."""


@dataclass(frozen=True)
class Picture:
    """What the first bytes of a file tell."""

    size: tuple[int, int] | None = None
    """(height, width) in pixels, upright as its EXIF data say; ``None`` where it is not known."""
    stored: tuple[int, int] | None = None
    """(height, width) as its rows are stored, which TensorRT-LLM's runner takes."""
    problem: str | None = None
    """Why it cannot be opened, as the end of a sentence that begins with its path."""


def size_of(place: str, *, upright: bool = True) -> tuple[int, int] | None:
    """Return (height, width) in pixels; ``None`` for what is no local picture."""
    found = look(place)
    return found.size if upright else found.stored


def look(place: str) -> Picture:
    """Return what is known of a picture; nothing for an address."""
    if "://" in place or place.startswith("{model}/"):
        return Picture()
    if (problem := unreadable(place)) is not None:
        return Picture(problem=problem)
    facts = Path(place).stat()
    return _looked(place, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size)


def unreadable(place: str) -> str | None:
    """Return why a path is no file that can be read, as the end of a sentence."""
    try:
        facts = Path(place).stat()
    except (OSError, ValueError) as error:
        return f"cannot be read: {getattr(error, 'strerror', None) or error}"
    if stat.S_ISDIR(facts.st_mode):
        return "is a directory"
    if not stat.S_ISREG(facts.st_mode):
        return "is a pipe, a socket or a device, not a file"
    if facts.st_size == 0:
        return "is empty"
    return None if os.access(place, os.R_OK) else "may not be read by this user"


@lru_cache(maxsize=256)
def _looked(place: str, *unchanged: int) -> Picture:
    with Path(place).open("rb") as file:
        first = file.read(FIRST_BYTES)
    begin = first.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if begin.startswith(TEXTS):
        return Picture(problem=f"is no picture: it begins with {begin[:20]!r}")
    try:
        from PIL import Image
    except ModuleNotFoundError:
        return Picture()
    try:
        with Image.open(place) as image:
            width, height = image.size
            # Pillow turns TIFF files by itself.
            turned = image.format != "TIFF" and image.getexif().get(ORIENTATION) in SIDEWAYS
    except Image.UnidentifiedImageError:
        return Picture(problem="is no picture that Pillow knows")
    except (*DAMAGE, Image.DecompressionBombError) as error:
        return Picture(problem=f"is no picture that can be read: {error}")
    stored = (height, width)
    if (problem := _cut_short(place, first)) is not None:
        return Picture(problem=problem)
    return Picture((width, height) if turned else stored, stored)


def _cut_short(place: str, first: bytes) -> str | None:
    """Return what is wrong with a PNG or JPEG file that has no end."""
    for begin, end in ENDS.items():
        if first.startswith(begin) and end not in Path(place).read_bytes():
            return "is cut short: the mark of its end is missing"
    return None
