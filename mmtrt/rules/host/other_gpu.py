"""Flag engines that are meant for another GPU than this host's.

## What it checks
``target.sm`` against the compute capability of this host's GPUs, if the plan builds engines or
runs them.

## Why it matters
TensorRT builds for the GPU that it finds, whatever the target says, and an engine of one class
does not load on another. ``plan``, ``check`` and ``export`` go on regardless: a plan may be made
for another machine. ``run`` refuses with exit code 5.

## Example
    mmtrt run recipe=llava backend=trtllm target.sm=80          # on a host with an H100

## Use instead
    mmtrt run recipe=llava backend=trtllm

## Source
TensorRT developer guide, "Compatibility"; NVIDIA/TensorRT-LLM issues 222 and 3031.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Node, Plan
from mmtrt.rules.base import Finding

RUNNERS = ("run", "eval", "serve")


def check(plan: Plan) -> Iterator[Finding]:
    """Yield a warning if no GPU here is of the target's class."""
    recipe, host = plan.recipe, plan.choice.host
    target, here = recipe.settings.target.sm, {gpu.sm for gpu in host.gpus}
    if target is None or not here or target in here or plan.choice.backend.gpu_class() is None:
        return
    tied = [node.id for node in plan.active() if _is_tied(node)]
    if tied:
        shown = " and ".join(str(sm) for sm in sorted(here))
        yield Finding(
            code="HST104",
            severity="warning",
            message=f"engines for sm {target} cannot be made here, on sm {shown}",
            at=recipe.where(("target", "sm")),
            why=f"{', '.join(tied)} would use this host's GPU",
            fix="target.sm=null",
        )


def _is_tied(node: Node) -> bool:
    uses = node.command is not None and node.command.resources.gpus > 0
    return uses and (node.stage.IS_ENGINE or node.kind in RUNNERS)
