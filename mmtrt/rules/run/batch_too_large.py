"""Flag a request with more items than the engines take at once.

## What it checks
``run.batch_size`` against ``max_batch_size``.

## Why it matters
The engine is built for ``max_batch_size``; one more and setting the shape fails at run time.

## Example
    mmtrt check recipe=llava run.batch_size=2

## Use instead
    mmtrt check recipe=llava run.batch_size=2 workload.batch_size=2

## Source
TensorRT-LLM 1.2 ``run.py --batch_size``; NVIDIA/TensorRT-LLM issue 928.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.config.overrides import assigned
from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error if the request does not fit."""
    asked, limit = plan.recipe.run.batch_size, plan.recipe.sizing.limits.required("max_batch_size")
    if asked > limit:
        # A limit that is set stays as it is, whatever the workload says.
        stated = plan.recipe.settings.max_batch_size is not None
        raised = plan.recipe.sizing.raised(asked)
        wanted = raised if stated else {"workload.batch_size": asked, **raised}
        yield Finding(
            code="RUN101",
            severity="error",
            message=f"run.batch_size is {asked}, the engines take {limit}",
            at=plan.recipe.where(("run", "batch_size")),
            why="max_batch_size is fixed when the engine is built",
            fix=assigned(wanted),
        )
