"""Flag a picture, a video or a sound that cannot be opened.

## What it checks
Local files of ``run.image``, ``run.video`` and ``run.audio``: directories, pipes, empty files,
files without permission, web pages saved in the place of pictures, pictures cut short, and formats
that the runtime's library does not know. Headers only.

## Why it matters
The file is opened when all engines are built.

## Example
    mmtrt check recipe=llava variant=tiny run.image=README.md

## Use instead
    mmtrt check recipe=llava variant=tiny run.image=asset://pictures/red_circle_left_on_white.png

## Source
Pillow 11, ``Image.open``; ``mmtrt/native/image_file.py``; TensorRT-LLM 1.2 ``load_test_data``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mmtrt.artifacts.faults import quoted
from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding
from mmtrt.rules.picture import look, unreadable
from mmtrt.stages import Run, Serve


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error for each file."""
    for node in plan.active():
        if isinstance(node.stage, (Run, Serve)):
            for key, place, problem in _problems(node.stage):
                yield Finding(
                    code="RUN121",
                    severity="error",
                    message=f"run.{key}: {quoted(place)} {problem}",
                    at=plan.recipe.where(("run", key)),
                    why=f"stage {node.id} opens it when all engines are built",
                    fix=f"run.{key}=null",
                )


def _problems(stage: Run | Serve) -> Iterator[tuple[str, str, str]]:
    """Yield key, path and what is wrong."""
    for place in stage.images:
        if (problem := look(place).problem) is not None:
            yield "image", place, problem
    if isinstance(stage, Serve):
        return
    for key, given in (("video", stage.video), ("audio", stage.audio)):
        if given is None or "://" in given or given.startswith("{model}/"):
            continue
        if key == "video" and Path(given).is_dir():
            names = sorted(p for p in Path(given).iterdir() if not p.name.startswith("."))
            bad = ((str(path), look(str(path)).problem) for path in names)
            found = next(((place, what) for place, what in bad if what), None)
            if not names:
                yield key, given, "is a directory without frames"
            elif found is not None:
                yield key, *found
        elif (problem := unreadable(given)) is not None:
            yield key, given, problem
