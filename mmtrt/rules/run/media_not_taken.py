"""Flag a video or a sound that the runner needs, does not take, or takes alone.

## What it checks
``run.video``, ``run.video_frames`` and ``run.audio`` against what the family's runner reads; a
picture beside a video; and for native engines a request without the picture that the family needs.

## Why it matters
``run.py`` stops without the sound or the video that a family needs, and where picture and video are
both given. What a family does not take it leaves aside, and answers about something else.

## Example
    mmtrt check recipe=llava_onevision run.image=https://example.com/a.png run.video=https://example.com/a.mp4

## Use instead
    mmtrt check recipe=llava_onevision run.video=https://example.com/a.mp4

## Source
TensorRT-LLM 1.2 ``MultimodalModelRunner`` (assertions on ``audio_path`` and on image and video).
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding, Severity
from mmtrt.stages import Run

SAMPLE = "asset://pictures/red_circle_left_on_white.png"
"""A picture that ships with mmtrt."""


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error for what is missing or too much, a warning for what is left aside."""
    run = next((node.stage for node in plan.active() if isinstance(node.stage, Run)), None)
    if run is None:
        return
    name, runner = plan.recipe.name, plan.recipe.file.runner
    native = plan.is_native  # which refuses what it does not take: ENG101

    def finding(key: str, message: str, why: str, fix: str, severity: Severity) -> Finding:
        at = plan.recipe.where(("run", key))
        return Finding(code="RUN107", severity=severity, message=message, at=at, why=why, fix=fix)

    for key, given, taken in (
        ("video", run.video, runner.video),
        ("audio", run.audio, runner.audio),
    ):
        if native:
            continue
        if taken == "required" and given is None:
            why = "the runner stops without it"
            yield finding(key, f"{name} needs run.{key}", why, f"run.{key}=<file>", "error")
        if taken == "none" and given is not None:
            why = "the runner leaves it aside and answers about something else"
            yield finding(key, f"{name} takes no {key}", why, f"run.{key}=null", "warning")
    if native and plan.recipe.file.native.min_images and not run.images:
        why = "its prompts begin with a picture"
        yield finding("image", f"{name} needs run.image", why, f"run.image={SAMPLE}", "error")
    if run.video is not None and run.images and (native or runner.video == "optional"):
        why = "frames take the place of pictures" if native else "the runner stops if it gets both"
        yield finding("image", "both a picture and a video", why, "run.image=null", "error")
    if run.video is None and run.video_frames is not None and runner.video != "required":
        why = "there is no video to take frames of"
        key = "video_frames"
        yield finding(key, f"run.{key} without run.video", why, f"run.{key}=null", "warning")
