"""Flag a workload of more requests at once than a stated limit allows.

## What it checks
``workload.batch_size`` against ``max_batch_size``, and ``max_batch_size`` against
``max_num_tokens``. What one request needs is left to ``SIZ101`` to ``SIZ108``.

## Why it matters
A limit that is stated wins over the workload, so the engines would be built for fewer requests
than were said to come. In a step every request of a batch has a token at least.

## Example
    mmtrt check recipe=llava workload.batch_size=3 max_batch_size=2

## Use instead
    mmtrt check recipe=llava workload.batch_size=3

## Source
TensorRT-LLM 1.2 ``trtllm-build --max_batch_size`` and ``--max_num_tokens``.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.config.overrides import assigned
from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error for each limit that the number of requests passes."""
    recipe, sizing = plan.recipe, plan.recipe.sizing
    limit, asked = sizing.limits.required("max_batch_size"), sizing.demand.batch_size or 1
    step = sizing.limits.value("max_num_tokens")
    if asked > limit:
        yield Finding(
            code="SIZ110",
            severity="error",
            message=f"workload.batch_size is {asked}, max_batch_size allows {limit}",
            at=recipe.where(("workload", "batch_size")),
            why="a stated limit wins over the workload: the engines would take fewer requests",
            fix=assigned(sizing.raised(asked) or {"max_batch_size": asked}),
        )
    if step is not None and step < limit:
        yield Finding(
            code="SIZ110",
            # TensorRT-LLM's scheduler leaves requests waiting, the native build refuses.
            severity="error" if plan.is_native else "warning",
            message=f"max_num_tokens is {step}, max_batch_size {limit} needs as many at least",
            at=recipe.where_limit("max_num_tokens"),
            why="each request of a batch has a token in every step",
            fix=f"max_num_tokens={max(limit, sizing.limits.value('max_input_len') or 0)}",
        )
