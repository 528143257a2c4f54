"""The length of a sound, from the header of its file."""

from __future__ import annotations

import wave


def seconds_of(place: str) -> float | None:
    """Return how long a WAV file sounds; ``None`` for what Python itself cannot read."""
    try:
        with wave.open(place, "rb") as file:
            return file.getnframes() / file.getframerate()
    except (wave.Error, EOFError, OSError, ZeroDivisionError):
        return None
