"""Flag a plan whose checkpoints and engines the store's disk cannot hold.

## What it checks
The sizes of the checkpoints and engines that are not in the store yet, computed from the number of
weights, against the space that is free. What comes from a hub is not counted: it is linked from the
hub's cache, which may have it already.

## Why it matters
The disk is full after the longest stages. ``plan``, ``check`` and ``export`` go on regardless: a
plan may be made for another machine. ``run`` refuses with exit code 5.

## Example
    mmtrt plan recipe=llava_onevision variant=72b backend=trtllm     # with 100 GiB free

## Use instead
    mmtrt plan recipe=llava_onevision variant=7b backend=trtllm

## Source
``mmtrt.sizing.memory``, ``mmtrt.backends.needs``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding
from mmtrt.sizing.memory import gibibytes
from mmtrt.stages import Download

CERTAIN = 0.9
"""Share of the computed sizes that is surely written (*chosen*: where encoders are not known apart
from the language model, both count as its own)."""


def check(plan: Plan) -> Iterator[Finding]:
    """Yield a warning that says how much is missing."""
    sizes = {
        node.id: node.command.resources.disk_bytes
        for node in plan.active()
        if node.command is not None and not isinstance(node.stage, Download)
    }
    there = free_bytes(plan) if any(sizes.values()) else None
    if there is None or CERTAIN * sum(sizes.values()) <= there:
        return
    from mmtrt.plan.estimate import stored  # not needed where there is room

    done = stored(plan)
    pending = {name: size for name, size in sizes.items() if size and name not in done}
    needed = sum(pending.values())
    if CERTAIN * needed <= there:
        return
    yield Finding(
        code="HST107",
        severity="warning",
        message=f"the store needs about {gibibytes(needed)}, its disk has {gibibytes(there)} free",
        at=plan.recipe.where(("paths", "store")),
        why=" + ".join(f"{name} {gibibytes(size)}" for name, size in pending.items()),
        fix="mmtrt cache gc, or paths.store=/a/larger/disk",
    )


def free_bytes(plan: Plan) -> int | None:
    """Return the free space of the store's disk; ``None`` for a host that is not this machine."""
    if not plan.choice.host.lookup:
        return None
    place = Path(plan.recipe.settings.paths.store).absolute()
    try:
        while not place.exists() and place != place.parent:
            place = place.parent
        status = os.statvfs(place)
        return status.f_bavail * status.f_frsize
    except OSError:
        return None
