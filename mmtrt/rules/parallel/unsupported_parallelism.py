"""Flag a parallel size that the chosen backend cannot build.

## What it checks
``tp`` and ``pp`` against the backend's largest sizes.

## Why it matters
An ONNX graph has no collectives, so the native backend builds for one rank.

## Example
    mmtrt check recipe=llava backend=native tp=2

## Use instead
    mmtrt check recipe=llava backend=trtllm tp=2

## Source
ONNX operator list: no collective operators.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error if the backend builds for one rank only."""
    settings, backend = plan.recipe.settings, plan.choice.backend
    ranks = settings.tp * settings.pp
    if ranks > backend.max_ranks:
        key = "tp" if settings.tp > 1 else "pp"
        others = [b for b in plan.recipe.file.backends if b != backend.name]
        pinned = plan.recipe.variant.backend is not None
        yield Finding(
            code="PAR102",
            severity="error",
            message=f"backend {backend.name} builds for {backend.max_ranks} rank, not {ranks}",
            at=plan.recipe.where((key,)),
            why="an ONNX graph has no collective operators",
            fix=f"{key}=1" if pinned or not others else f"backend={others[0]}",
        )
