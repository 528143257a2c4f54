"""ANSI colours where the stream is a terminal; no meaning hangs on them."""

from __future__ import annotations

import os
from typing import TextIO

CODES = {"green": "32", "yellow": "33", "red": "31", "blue": "34", "dim": "2", "bold": "1"}


def wants_color(stream: TextIO) -> bool:
    """Return whether to colour: NO_COLOR forbids, FORCE_COLOR demands, else a terminal does."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def paint(text: str, color: str, enabled: bool) -> str:
    """Return the text in a colour of :data:`CODES`, or as it is."""
    return f"\x1b[{CODES[color]}m{text}\x1b[0m" if enabled else text
