"""Videos and sounds of a request to native engines: which families take them, how they are said."""

from __future__ import annotations

import wave
from pathlib import Path

from mmtrt.backends.base import Local, Pair, Word
from mmtrt.config.recipe import Recipe
from mmtrt.errors import PlanError
from mmtrt.stages import Run

RATE = 16_000
"""Samples a second of a sound, for every family that takes one."""
ANIMATIONS = (".gif", ".webp", ".png", ".apng")
"""Ends of names that Pillow reads; PyAV decodes any other file."""


def media_words(stage: Run, recipe: Recipe) -> list[Word]:
    """Return the words of ``mmtrt.native.run`` for what a request shows beside pictures.

    Raises:
        PlanError: ENG101 for what the family's engines do not take.
    """
    runner, native = recipe.file.runner, recipe.file.native
    for name, place, taken in (
        ("video", stage.video, runner.video),
        ("audio", stage.audio, runner.audio),
    ):
        if place is None or name in native.media:
            continue
        elsewhere = taken not in (None, "none") and "trtllm" in recipe.file.backends
        raise PlanError(
            f"backend native takes no {name} for recipe {recipe.name}",
            code="ENG101",
            at=recipe.where(("run", name)),
            why="its engines are built for " + ", ".join(["text", "pictures", *native.media]),
            fix=f"run.{name}=null" + (", or backend=trtllm" if elsewhere else ""),
        )
    if stage.audio is not None:
        if stage.engine != "onnxruntime":
            raise PlanError(
                f"engine={stage.engine} takes no audio",
                code="ENG101",
                at=recipe.where(("run", "audio")),
                why="sounds are encoded by ONNX Runtime",
                fix="run.audio=null, or engine=onnxruntime",
            )
        return [Pair("--audio-path=", Local("audio", stage.audio))]
    if stage.video is None:
        return []
    frames = [] if stage.video_frames is None else ["--video-frames", str(stage.video_frames)]
    return [Pair("--video-path=", Local("video", stage.video)), *frames]


def listening(recipe: Recipe, engine: str = "onnxruntime") -> tuple[str, ...]:
    """Return the words with which ``convert`` and ``build_vision`` make an engine for sounds."""
    is_heard = "audio" in recipe.file.native.media and engine == "onnxruntime"
    return ("--media", "audio") if is_heard else ()


def decoders(stage: Run) -> tuple[str, ...]:
    """Return the distributions that decode video or sound, where Pillow or Python do not."""
    if stage.audio is not None:
        return () if _is_plain_wave(stage.audio) else ("av",)
    if stage.video is None or Path(stage.video).is_dir():
        return ()
    return () if Path(stage.video).suffix.lower() in ANIMATIONS else ("av",)


def _is_plain_wave(place: str) -> bool:
    """Return whether ``mmtrt.native.sound_file`` reads a file without a decoder."""
    try:
        with wave.open(place, "rb") as file:
            return file.getframerate() == RATE and file.getsampwidth() in (2, 4)
    except (wave.Error, EOFError, OSError):
        return False
