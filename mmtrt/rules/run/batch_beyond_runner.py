"""Flag a batch that the runner cannot put together, whatever the engines take.

## What it checks
``run.batch_size`` against the requests at once that the family's runner manages.

## Why it matters
The runner repeats the prompt for each request but not the picture, and fails when it joins them.

## Example
    mmtrt check recipe=internvl2 workload.batch_size=2 run.batch_size=2

## Use instead
    mmtrt check recipe=internvl2 workload.batch_size=2

## Source
TensorRT-LLM 1.2 ``MultimodalModelRunner.setup_inputs`` (internvl).
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding
from mmtrt.rules.request import asked_of_runner


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error if the batch is more than the runner manages."""
    run, most = asked_of_runner(plan), plan.recipe.file.runner.max_batch_size
    if run is not None and most is not None and run.batch_size > most:
        yield Finding(
            code="RUN113",
            severity="error",
            message=f"run.batch_size is {run.batch_size}, the runner manages {most}",
            at=plan.recipe.where(("run", "batch_size")),
            why="it repeats the prompt for each request but not the picture",
            fix=f"run.batch_size={most}",
        )
