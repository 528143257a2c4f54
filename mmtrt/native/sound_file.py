"""Open the sound of a request: one channel of samples, at the rate that a model listens at.

A WAV file of 16 or 32 bits a sample at that rate is read by Python itself; any other file, and
any other rate, by PyAV (the extra ``video``) with FFmpeg's resampler.
"""

from __future__ import annotations

import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmtrt.native.errors import NativeError

_FULL_SCALE = {2: ("<i2", 2**15), 4: ("<i4", 2**31)}
"""Bytes of a sample -> its type, and what stands for 1.0."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sound:
    """One sound. S: samples."""

    samples: Any
    """float32 ``[S]``, from -1 to 1; channels are averaged."""
    rate: int
    """Samples a second."""


def open_sound(path: str, rate: int) -> Sound:
    """Return a sound at a rate.

    Args:
        path: a file.
        rate: samples a second.

    Raises:
        NativeError: RUN213, if it is a URL, is missing or cannot be decoded; ENV203, if PyAV is
            needed and not installed.
    """
    if "://" in path:
        raise NativeError(
            f"{path}: the native runtime reads local sounds only",
            code="RUN213",
            fix="download it first",
        )
    if not Path(path).is_file():
        raise NativeError(f"{path}: no such sound", code="RUN213", fix="check --audio-path")
    samples = _plain_wave(path, rate)
    return Sound(samples=_decoded(path, rate) if samples is None else samples, rate=rate)


def _plain_wave(path: str, rate: int) -> Any:
    """Return the samples of a WAV file that needs no decoder; ``None`` for any other file."""
    import numpy as np

    try:
        with wave.open(path, "rb") as file:
            width, channels = file.getsampwidth(), file.getnchannels()
            if file.getframerate() != rate or width not in _FULL_SCALE:
                return None
            held = file.readframes(file.getnframes())
    except (wave.Error, EOFError):
        return None
    kind, full = _FULL_SCALE[width]
    # A file that was cut off may end within a frame.
    whole = np.frombuffer(held[: len(held) // (width * channels) * width * channels], kind)
    return (whole.reshape(-1, channels) / full).mean(axis=1).astype(np.float32)


def _decoded(path: str, rate: int) -> Any:
    import numpy as np

    try:
        import av
    except ModuleNotFoundError as missing:
        raise NativeError(
            f"{path}: the Python package av is not installed",
            code="ENV203",
            why=f"PyAV decodes sounds; WAV files of 16 or 32 bits at {rate} Hz go without it",
            fix="pip install 'mmtrt[video]'",
        ) from missing
    pieces: list[Any] = []
    try:
        with av.open(path) as container:
            if not container.streams.audio:
                raise NativeError(f"{path}: holds no sound", code="RUN213")
            # Channels stay apart: FFmpeg's own mixture of them may be louder than their mean.
            resampler = av.AudioResampler(format="fltp", rate=rate)
            for frame in container.decode(audio=0):
                pieces += [piece.to_ndarray() for piece in resampler.resample(frame)]
            pieces += [piece.to_ndarray() for piece in resampler.resample(None) if pieces]
    except av.error.FFmpegError as error:
        raise NativeError(
            f"{path}: not a sound that can be decoded: {error}", code="RUN213"
        ) from error
    if not pieces:
        raise NativeError(f"{path}: holds no sound", code="RUN213")
    return np.concatenate(pieces, axis=1).mean(axis=0).astype(np.float32)
