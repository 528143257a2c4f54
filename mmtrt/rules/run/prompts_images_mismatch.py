"""Flag numbers of prompts, pictures and batch items that do not pair up.

## What it checks
One prompt and one picture are repeated for each item of the batch; more prompts must be as many as
``run.batch_size``, more pictures as many as its requests may have together.

## Why it matters
``run.py`` reads item i of each list for item i of the batch, and fails or mixes them up otherwise.

## Example
    mmtrt check recipe=llava workload.batch_size=2 run.batch_size=2 'run.prompt=[a,b,c]'

## Use instead
    mmtrt check recipe=llava workload.batch_size=2 run.batch_size=2 'run.prompt=[a,b]'

## Source
TensorRT-LLM 1.2 multimodal README, LLaVA section: N images and N prompts for ``--batch_size=N``.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error for each list that is neither one long nor as long as the batch."""
    run, images = plan.recipe.run, plan.recipe.sizing.demand.images_per_request
    if plan.recipe.workflow == "pytorch":
        return  # its runner takes any number of either
    for key, value, each in (("prompt", run.prompt, 1), ("image", run.image, images)):
        if isinstance(value, list) and len(value) not in (1, run.batch_size, run.batch_size * each):
            yield Finding(
                code="RUN102",
                severity="error",
                message=f"run.{key} has {len(value)} items, run.batch_size is {run.batch_size}",
                at=plan.recipe.where(("run", key)),
                why="item i of each list belongs to item i of the batch; a single one is repeated",
                fix=f"run.batch_size={len(value)}",
            )
