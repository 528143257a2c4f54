"""Flag a number format that the recipe, or the backend, does not have.

## What it checks
``quant`` against the recipe's ``quants``, the checkpoints that each is for, and what the chosen
backend can write.

## Why it matters
Each family supports some formats only; the tools find out after loading the weights.

## Example
    mmtrt check recipe=llava backend=native quant=int4_awq

## Use instead
    mmtrt check recipe=llava backend=native quant=int8_wo

## Source
TensorRT-LLM 1.2 multimodal README, section of each model; ``mmtrt.backends``.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error if nothing can make this format."""
    recipe, quant = plan.recipe, plan.recipe.settings.quant.name
    backend = plan.choice.backend
    own = [
        name
        for name, options in recipe.file.quants.items()
        if not options.variants or recipe.variant_name in options.variants
    ]
    offered = [name for name in own if name in backend.formats]
    if quant in offered:
        return
    who = f"backend {backend.name}" if quant in own else f"{recipe.name} {recipe.variant_name}"
    yield Finding(
        code="QNT101",
        severity="error",
        message=f"{who} has no quant={quant}",
        at=recipe.where(("quant",)),
        why=f"offered with backend {backend.name}: {', '.join(offered)}",
        fix=f"quant={offered[-1] if offered else 'none'}",
    )
