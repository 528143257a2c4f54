"""Flag a tensor parallel size that does not divide the attention heads.

## What it checks
``num_attention_heads % tp == 0``, and ``num_key_value_heads % tp == 0`` or the reverse: with more
ranks than key-value heads, heads are duplicated.

## Why it matters
The conversion fails after it has loaded the weights.

## Example
    mmtrt check recipe=llava backend=trtllm tp=3

## Use instead
    mmtrt check recipe=llava backend=trtllm tp=2

## Source
TensorRT-LLM 1.2 ``convert_utils``; NVIDIA/TensorRT-LLM issues 2310 and 2198.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error if heads cannot be shared out evenly."""
    recipe, facts = plan.recipe, plan.recipe.variant.facts
    tp, heads, kv = recipe.settings.tp, facts.num_attention_heads, facts.num_key_value_heads
    if heads is None or kv is None:
        return
    if tp < 1 or heads % tp or (kv % tp if kv >= tp else tp % kv):
        fits = [n for n in (1, 2, 4, 8) if heads % n == 0 and (kv % n == 0 or n % kv == 0)]
        near = max([n for n in fits if n <= tp] or [1])
        yield Finding(
            code="PAR101",
            severity="error",
            message=f"tp={tp} does not divide {heads} attention heads and {kv} key-value heads",
            at=recipe.where(("tp",)),
            why="each rank takes an equal share of the heads",
            fix=f"tp={near}",
        )
