"""Flag a video of more frames than the vision engine takes, or than the runner is known for.

## What it checks
``run.video_frames`` (8 where it is not said) against the batch of the vision engine, and against
the frames up to which TensorRT-LLM's README goes.

## Why it matters
All frames of a video go through the vision engine at once; one more than its profile has and the
run fails. Beyond the README's number nobody has said that it works.

## Example
    mmtrt check recipe=llava_onevision run.video=https://example.com/cat.mp4 run.video_frames=33

## Use instead
    mmtrt check recipe=llava_onevision run.video=https://example.com/cat.mp4 run.video_frames=32

## Source
TensorRT-LLM 1.2 multimodal README, LLaVA-OneVision: "up to 32 frames"; ``run.py`` ("Could not set
shape ... check the profile range").
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding
from mmtrt.rules.request import Counter, asked


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error for frames that do not fit, else a warning for more than the README has."""
    run = asked(plan)
    if run is None:
        return
    counter = Counter(plan, run)
    frames, known = counter.frames, plan.recipe.file.runner.max_video_frames
    if plan.is_native:
        known = None  # the README speaks of TensorRT-LLM's runner
    if frames is None or plan.recipe.variant.facts.num_frames is not None:
        return  # there is no video, or the model fixes its frames
    if not counter.items_are_frames:
        return  # SIZ106 counts patches
    items, vision = counter.cost().items, counter.vision_batch()
    fits = vision is None or items <= vision
    if fits and (known is None or frames <= known):
        return
    allowed = [n for n in (None if vision is None else vision // run.batch_size, known) if n]
    yield Finding(
        code="SIZ109",
        severity="warning" if fits else "error",
        message=f"{frames} frames of a video, "
        + (f"the README goes up to {known}" if fits else f"the vision engine takes {vision}"),
        at=plan.recipe.where(("run", "video_frames")),
        why="each frame is an item of the vision engine's batch",
        fix=f"run.video_frames={max(min(allowed), 1)}",
    )
