"""Open the video of a request: uniformly sampled frames, whatever holds them.

An animated GIF, WebP or PNG is read by Pillow, a directory by the names of its pictures, any other
file by PyAV (the extra ``video``), as TensorRT-LLM's runner does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmtrt.native.errors import NativeError
from mmtrt.native.image_file import open_image

DEFAULT_FRAMES = 8
"""Frames of a video where nobody says how many (TensorRT-LLM 1.2 ``run.py``)."""
ANIMATIONS = (".gif", ".webp", ".png", ".apng")
"""Ends of names that Pillow reads."""
_DEFAULT_FPS = 24.0
"""Of a video that does not say (transformers 5.23 ``VideoMetadata.sampled_fps``)."""
_MS_PER_S = 1000.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Video:
    """The sampled frames of one video. F: frames."""

    frames: Any
    """uint8 ``[F, H, W, 3]``, RGB."""
    fps: float
    """Sampled frames in a second of the video; 24 where the file does not say."""


@dataclass(frozen=True, kw_only=True)
class _Opened:
    total: int
    fps: float | None
    chosen: Sequence[int]
    frames: Sequence[Any]


def open_video(path: str, frames: int | None = None) -> Video:
    """Return a video's frames, as many as asked for, at even distances from the first one on.

    Args:
        path: a file, or a directory of pictures in the order of their names.
        frames: how many; 8, or all of a shorter video, where ``None``.

    Raises:
        NativeError: RUN213, if it is a URL, is missing or cannot be decoded; RUN218, if it has
            fewer frames; ENV203, if PyAV is needed and not installed.
    """
    import numpy as np

    place = Path(path)
    if "://" in path:
        raise NativeError(
            f"{path}: the native runtime reads local videos only",
            code="RUN213",
            fix="download it first",
        )
    if place.is_dir():
        opened = _pictures(place, frames)
    elif not place.is_file():
        raise NativeError(f"{path}: no such video", code="RUN213", fix="check --video-path")
    elif place.suffix.lower() in ANIMATIONS:
        opened = _animation(path, frames)
    else:
        opened = _decoded(path, frames)
    sides = {frame.shape for frame in opened.frames}
    if len(sides) > 1:
        raise NativeError(f"{path}: its frames are of different sizes", code="RUN213")
    rate = None if opened.fps is None else len(opened.chosen) / opened.total * opened.fps
    return Video(frames=np.stack(opened.frames), fps=rate or _DEFAULT_FPS)


def places_of(total: int, frames: int) -> list[int]:
    """Return which of ``total`` frames are taken.

    Source: transformers 5.23, ``default_sample_indices_fn``; the same places as those of
    ``np.arange(0, total, total / frames)`` in TensorRT-LLM 1.2's runner, without its rounding.
    """
    return [number * total // frames for number in range(frames)]


def _choose(path: object, total: int, frames: int | None) -> list[int]:
    count = min(DEFAULT_FRAMES, total) if frames is None else frames
    if not 0 < count <= total:
        raise NativeError(
            f"{path}: {total} frames, {count} were asked for",
            code="RUN218",
            fix=f"--video-frames {total} or fewer" if total else "give a video that has frames",
        )
    return places_of(total, count)


def _pictures(directory: Path, frames: int | None) -> _Opened:
    import numpy as np

    names = sorted(path for path in directory.iterdir() if not path.name.startswith("."))
    chosen = _choose(directory, len(names), frames)
    opened = [np.asarray(open_image(str(names[place])).convert("RGB")) for place in chosen]
    return _Opened(total=len(names), fps=None, chosen=chosen, frames=opened)


def _animation(path: str, frames: int | None) -> _Opened:
    import numpy as np
    from PIL import Image, ImageSequence, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            total = getattr(image, "n_frames", 1)
            chosen = _choose(path, total, frames)
            kept, length_ms = {}, 0.0
            for number, frame in enumerate(ImageSequence.Iterator(image)):
                length_ms += frame.info.get("duration", 0)
                if number in chosen:
                    kept[number] = np.asarray(frame.convert("RGB"))
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as error:
        raise NativeError(
            f"{path}: not an animation that can be read: {error}", code="RUN213"
        ) from error
    fps = total / length_ms * _MS_PER_S if length_ms else None
    return _Opened(total=total, fps=fps, chosen=chosen, frames=[kept[place] for place in chosen])


def _decoded(path: str, frames: int | None) -> _Opened:
    try:
        import av
    except ModuleNotFoundError as missing:
        raise NativeError(
            f"{path}: the Python package av is not installed",
            code="ENV203",
            why=f"PyAV decodes videos; {', '.join(ANIMATIONS)} and directories go without it",
            fix="pip install 'mmtrt[video]'",
        ) from missing
    try:
        with av.open(path) as container:
            if not container.streams.video:
                raise NativeError(f"{path}: holds no video", code="RUN213")
            stated = container.streams.video[0].frames
        total = stated or _count(path)
        chosen = _choose(path, total, frames)
        kept, fps = _decode(path, chosen)
        if len(kept) < len(chosen):
            # The header promises more frames than there are.
            total = _count(path)
            chosen = _choose(path, total, frames)
            kept, fps = _decode(path, chosen)
    except av.error.FFmpegError as error:
        raise NativeError(
            f"{path}: not a video that can be decoded: {error}", code="RUN213"
        ) from error
    return _Opened(total=total, fps=fps, chosen=chosen, frames=kept)


def _count(path: str) -> int:
    import av

    with av.open(path) as container:
        return sum(1 for _ in container.decode(video=0))


def _decode(path: str, chosen: Sequence[int]) -> tuple[list[Any], float | None]:
    """Return the frames of these numbers, fewer if the video ends before, and its frame rate."""
    import av

    wanted, kept = set(chosen), []
    with av.open(path) as container:
        rate = container.streams.video[0].average_rate
        for number, frame in enumerate(container.decode(video=0)):
            if number in wanted:
                kept.append(frame.to_ndarray(format="rgb24"))
            if number == chosen[-1]:
                break
    return kept, float(rate) if rate else None
