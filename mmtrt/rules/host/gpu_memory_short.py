"""Flag engines that cannot fit into the memory of the GPU that they are for.

## What it checks
Weights, KV cache of the request, prompt table, activations and the vision encoder's mask of one
rank against ``target.gpu_memory_gib``, or else this host's smallest GPU. All of it is the least
that is needed; where the number of weights is not known, nothing is checked.

## Why it matters
The engines are built for half an hour, and loading them ends with an out-of-memory error.

## Example
    mmtrt plan recipe=cogvlm backend=trtllm target.gpu_memory_gib=24

## Use instead
    mmtrt plan recipe=cogvlm backend=trtllm target.gpu_memory_gib=24 tp=2

## Source
``mmtrt.sizing.memory``; NVIDIA/TensorRT-LLM issues 1543, 538, 2139 and 401.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding

RUNNERS = ("run", "eval", "serve")
"""Kinds of stages that have the engines in GPU memory."""


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error with the parts and what would fit."""
    there = available(plan)
    if there is None:
        return
    from mmtrt.plan.fitting import fix_of
    from mmtrt.plan.rank_memory import gpu_memory  # not needed without a GPU
    from mmtrt.sizing.memory import gibibytes

    needed = gpu_memory(plan)
    if needed is None or needed.size_bytes <= there:
        return
    recipe = plan.recipe
    stated = recipe.settings.target.gpu_memory_gib is not None
    parts = " + ".join(f"{part.name} {gibibytes(part.size_bytes)}" for part in needed.parts)
    yield Finding(
        code="HST105",
        severity="error",
        message=f"a rank needs at least {gibibytes(needed.size_bytes)} of GPU memory,"
        f" {'the target' if stated else 'this host'} has {gibibytes(there)}",
        at=recipe.where(("target", "gpu_memory_gib") if stated else ("tp",)),
        why=parts,
        fix=fix_of(plan, there),
    )


def available(plan: Plan) -> int | None:
    """Return the memory of the GPU in bytes; ``None`` if no GPU is used or it is not known."""
    stated = plan.recipe.settings.target.gpu_memory_gib
    if stated is not None:
        return int(stated * (1 << 30))
    answering = (n.command for n in plan.active() if n.kind in RUNNERS and n.command)
    leased = any(command.resources.gpus for command in answering)
    sizes = [gpu.memory_bytes for gpu in plan.choice.host.gpus]
    return min(sizes) if leased and sizes else None
