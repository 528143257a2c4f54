"""Flag a conversion that this host's memory cannot hold.

## What it checks
The weights of as many ranks as the conversion works on at a time (``workers``) against the host's
memory, or the container's cap. Scripts that load the original model as a whole need that beside it.

## Why it matters
The process is killed after minutes, without a message. ``plan``, ``check`` and ``export`` go on
regardless: a plan may be made for another machine. ``run`` refuses with exit code 5, unless the
checkpoint is in the store.

## Example
    mmtrt plan recipe=internvl2 variant=26b backend=trtllm     # on a host with 16 GiB

## Use instead
    mmtrt plan recipe=internvl2 variant=26b backend=trtllm tp=4

## Source
``mmtrt.sizing.memory.convert_ram_bytes``; NVIDIA/TensorRT-LLM issues 1728, 2093 and 102.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from mmtrt.backends.needs import workers
from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding
from mmtrt.sizing.memory import gibibytes
from mmtrt.stages import Convert


def check(plan: Plan) -> Iterator[Finding]:
    """Yield a warning for each conversion that needs more than there is."""
    there = plan.choice.host.ram_bytes
    for node in plan.active():
        stage, wanted = node.stage, node.command.resources.ram_bytes if node.command else 0
        if not isinstance(stage, Convert) or not 0 < there < wanted:
            continue
        from mmtrt.plan.estimate import stored  # not needed where there is enough

        if node.id in stored(plan):
            continue
        ranks = stage.tp * stage.pp
        at_once = min(ranks, workers(stage))
        fix = f"recipe.stages.{stage.id}.flags.workers=1"
        if at_once == 1 or wanted // at_once > there:
            fix = f"mmtrt export {shlex.join(plan.recipe.overrides)} --format sh -o build.sh"
        yield Finding(
            code="HST106",
            severity="warning",
            message=f"stage {stage.id} needs at least {gibibytes(wanted)} of memory,"
            f" this host has {gibibytes(there)}",
            at=plan.recipe.where(("recipe", "stages", stage.id)),
            why=f"it holds the weights of {at_once} of {ranks} ranks; with a larger tp or a machine"
            " with more memory it works",
            fix=fix,
        )
