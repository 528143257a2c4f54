"""Flag a plan that needs more GPUs than this host shows.

## What it checks
The GPUs that the plan's stages lease, at most one stage at a time.

## Why it matters
The stage could never start. ``plan``, ``check`` and ``export`` go on regardless: a plan may be
made for another machine. ``run`` refuses with exit code 5.

## Example
    mmtrt run recipe=llava backend=trtllm tp=8          # on a host with four GPUs

## Use instead
    mmtrt run recipe=llava backend=trtllm tp=4

## Source
``mmtrt.executor.tokens``.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding


def check(plan: Plan) -> Iterator[Finding]:
    """Yield a warning that says how many GPUs are missing."""
    wanted = max((n.command.resources.gpus for n in plan.active() if n.command), default=0)
    shown = len(plan.choice.host.gpus)
    if wanted > shown:
        yield Finding(
            code="HST103",
            severity="warning",
            message=f"the plan needs {wanted} GPU(s), this host shows {shown}",
            at=plan.recipe.where(("tp",)),
            why="planning and exporting work without; the script can run on another machine",
            fix=f"mmtrt export {shlex.join(plan.recipe.overrides)} --format sh -o build.sh",
        )
