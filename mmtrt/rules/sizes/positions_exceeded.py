"""Flag a sequence limit beyond the positions that the model knows.

## What it checks
``max_seq_len`` against ``max_position_embeddings`` of the checkpoint.

## Why it matters
Beyond it a model was never trained: the engine builds, and the text gets worse without a word.

## Example
    mmtrt check recipe=llava max_seq_len=8192

## Use instead
    mmtrt check recipe=llava max_seq_len=4096

## Source
TensorRT-LLM 1.2 ``trtllm-build`` warns likewise; ``config.json`` of the model.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding


def check(plan: Plan) -> Iterator[Finding]:
    """Yield a warning if sequences may outgrow the model."""
    seq = plan.recipe.sizing.limits.value("max_seq_len")
    positions = plan.recipe.variant.facts.max_position_embeddings
    if seq is not None and positions is not None and seq > positions:
        yield Finding(
            code="SIZ105",
            severity="warning",
            message=f"max_seq_len is {seq}, the model knows {positions} positions",
            at=plan.recipe.where_limit("max_seq_len"),
            why="the engine builds, but longer texts come out worse",
            fix=f"max_seq_len={positions}",
        )
