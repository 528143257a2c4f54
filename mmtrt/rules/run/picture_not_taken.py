"""Flag a picture that the runner ignores or refuses.

## What it checks
``run.image`` against the pictures that the family's runner looks at: any, local files alone, its
own sample alone, or none.

## Why it matters
Some runners fetch their own sample whatever is named: the answer is about another picture. Others
fail, after every engine is built.

## Example
    mmtrt check recipe=internvl2 run.image=asset://pictures/red_circle_left_on_white.png

## Use instead
    mmtrt check recipe=internvl2

## Source
TensorRT-LLM 1.2 ``MultimodalModelRunner.load_test_data``; NVIDIA/TensorRT-LLM issue 5787.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding, Severity
from mmtrt.rules.request import asked_of_runner

OUTCOMES: dict[str, tuple[Severity, str, str]] = {
    "local": ("error", "takes pictures from files alone", "the runner opens an address as a file"),
    "refused": ("error", "fails with any picture that is named", "the runner opens the whole list"),
    "sample": ("warning", "ignores run.image", "the runner fetches its own sample"),
    "none": ("warning", "ignores run.image", "the runner looks at a video alone"),
}
"""What a runner takes -> severity, what becomes of the picture, and why."""


def check(plan: Plan) -> Iterator[Finding]:
    """Yield a warning for a picture that nobody looks at, an error for one that stops the run."""
    run, taken = asked_of_runner(plan), plan.recipe.file.runner.image
    if run is None or not run.images or taken not in OUTCOMES:
        return
    if taken == "local" and not any("://" in image for image in run.images):
        return
    severity, what, why = OUTCOMES[taken]
    yield Finding(
        code="RUN108",
        severity=severity,
        message=f"{plan.recipe.name} {what}",
        at=plan.recipe.where(("run", "image")),
        why=why,
        fix="run.image=null" + ("   # or a file on this machine" if taken == "local" else ""),
    )
