"""Pictures of a request as data URIs, so that a page needs no other file."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

LARGEST_BYTES = 4 << 20
"""Larger files are named, not shown (*chosen*: a page should open on a phone)."""

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
)


def picture_files(argv: Iterable[str]) -> dict[str, Path]:
    """Return the files that a command line names, by file name; the first of a name counts."""
    found: dict[str, Path] = {}
    for word in argv:
        for text in (word, word.partition("=")[2]):
            for path in map(Path, text.split(",")):
                if path.suffix and path.name not in found and path.is_absolute():
                    found[path.name] = path
    return found


def data_uris(names: Sequence[str], files: Mapping[str, Path]) -> dict[str, str]:
    """Return a data URI for every picture that is there and not too large."""
    uris = {}
    for name in dict.fromkeys(names):
        path = files.get(Path(name).name, Path(name))
        try:
            if not path.is_file() or path.stat().st_size > LARGEST_BYTES:
                continue
            content = path.read_bytes()
        except OSError:
            continue
        kind = _kind(content)
        if kind is not None:
            uris[name] = f"data:{kind};base64,{base64.b64encode(content).decode()}"
    return uris


def _kind(content: bytes) -> str | None:
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _MAGIC if content.startswith(magic)), None)
