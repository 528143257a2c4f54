"""The end of a log that is being written."""

from __future__ import annotations

import re
from pathlib import Path

TAIL_BYTES = 8192

_PROGRESS = re.compile(r"^progress (\d+) (\d+) bytes$", re.MULTILINE)


def last_lines(path: Path, count: int) -> list[str]:
    """Return up to ``count`` last lines with text, progress lines left out."""
    lines = [line.rstrip() for line in _tail(path).splitlines()]
    return [line for line in lines if line and not _PROGRESS.match(line)][-count:]


def last_progress(path: Path) -> tuple[int | None, int | None]:
    """Return bytes done and in all, as a download stage last reported them."""
    found = _PROGRESS.findall(_tail(path))
    return (int(found[-1][0]), int(found[-1][1])) if found else (None, None)


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            return file.read().decode(errors="replace").replace("\r", "\n")
    except OSError:
        return ""
