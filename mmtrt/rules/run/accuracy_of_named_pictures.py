"""Flag an accuracy check beside pictures that are named.

## What it checks
``run.check_accuracy`` with ``run.image`` for families whose runner splits the list of pictures as
if it were one text.

## Why it matters
The run fails in the check, after the answer. The check compares with the answer to the tool's own
sample anyway.

## Example
    mmtrt check recipe=vila run.image=https://example.com/av.png run.check_accuracy=true

## Use instead
    mmtrt check recipe=vila run.check_accuracy=true

## Source
TensorRT-LLM 1.2 ``run.py``: ``args.image_path.split(...)`` of what ``nargs="+"`` made a list.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding
from mmtrt.rules.request import asked_of_runner


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error if the check would fail on the list."""
    run = asked_of_runner(plan)
    if run is None or not run.check_accuracy or not run.images:
        return
    if not plan.recipe.file.runner.checks_named_pictures:
        yield Finding(
            code="RUN110",
            severity="error",
            message="run.check_accuracy fails beside run.image",
            at=plan.recipe.where(("run", "check_accuracy")),
            why="this version splits the list of pictures as if it were one text",
            fix="run.check_accuracy=false",
        )
