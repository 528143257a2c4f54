"""Flag a parallel size that the chosen backend cannot build.

## What it checks
``tp`` and ``pp`` against what the backend builds with the engine format at hand.

## Why it matters
An ONNX graph has no collectives, so engines made of it have one rank. The native packages of
``engine=aot_inductor`` share layers between ranks (``tp``), but do not share layers out (``pp``).

## Example
    mmtrt check recipe=llava backend=native engine=onnxruntime tp=2

## Use instead
    mmtrt check recipe=llava backend=native tp=2

## Source
ONNX operator list: no collective operators; docs/adr/0010.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding

PARALLEL_ENGINE = "aot_inductor"


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error if the backend builds for one rank only, or cannot share layers out."""
    recipe, backend = plan.recipe, plan.choice.backend
    tp, pp = recipe.settings.tp, recipe.settings.pp
    others = [b for b in recipe.file.backends if b != backend.name]
    elsewhere = None if recipe.variant.backend is not None or not others else others[0]
    if backend.name == "native" and pp > 1:
        yield Finding(
            code="PAR102",
            severity="error",
            message=f"backend native does not share layers out between ranks: pp={pp}",
            at=recipe.where(("pp",)),
            why="its ranks take a share of every layer",
            fix="pp=1",
        )
    elif tp * pp > backend.max_ranks:
        choice = backend.engine_choice
        key = "tp" if tp > 1 else "pp"
        fix = f"{key}=1" if elsewhere is None else f"backend={elsewhere}"
        if choice is not None and PARALLEL_ENGINE in recipe.file.engines:
            fix = f"engine={PARALLEL_ENGINE}"
        with_engine = "" if choice is None else f" with engine={choice.name}"
        yield Finding(
            code="PAR102",
            severity="error",
            message=f"backend {backend.name} builds for {backend.max_ranks} "
            f"rank{'s' * (backend.max_ranks > 1)}{with_engine}, not {tp * pp}",
            at=recipe.where((key,)),
            why="its graphs have no operator that lets ranks exchange anything"
            if choice is not None
            else "more have not been tried",
            fix=fix,
        )
