"""Log lines in TensorRT-LLM's format, on stdout.

The clock stands still, so that equal runs print equal bytes.

Source: ``tensorrt_llm/logger.py``.
"""

from __future__ import annotations

import sys

from mmtrt.fake import settings

STAMP = "[01/01/2026-00:00:00]"
LEVELS = ("internal_error", "error", "warning", "info", "verbose", "debug")
_LETTERS = {"E": 1, "W": 2, "I": 3}

_level = LEVELS.index("info")


def set_level(name: str) -> None:
    """Print lines of this level and worse ones; an unknown name means warnings only."""
    global _level
    _level = LEVELS.index(name) if name in LEVELS else LEVELS.index("warning")


def info(message: str) -> None:
    """Print what goes on."""
    _print("I", message)


def warning(message: str) -> None:
    """Print what the tool changed or doubts."""
    _print("W", message)


def error(message: str) -> None:
    """Print what went wrong."""
    _print("E", message)


def version() -> None:
    """Print the line that importing ``tensorrt_llm`` prints."""
    if settings.rank() == 0:
        plain(f"[TensorRT-LLM] TensorRT LLM version: {settings.read().version}")


def plain(text: str) -> None:
    """Print a line without stamp."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _print(letter: str, message: str) -> None:
    if _LETTERS[letter] > _level:
        return
    place = f"[RANK {settings.rank()}] " if settings.ranks() > 1 else ""
    plain(f"{STAMP} [TRT-LLM] {place}[{letter}] {message}")
