"""Flag a prompt limit that the visual features alone fill up.

## What it checks
``max_input_len`` against the visual features of one request and one token of text.

## Why it matters
Each visual feature stands as one placeholder token in the prompt.

## Example
    mmtrt check recipe=llava max_input_len=576

## Use instead
    mmtrt check recipe=llava max_input_len=640

## Source
TensorRT-LLM 1.2 ``run.py``: the prompt is text tokens and placeholders; NVIDIA/TensorRT-LLM
issues 977 and 2702.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error if no text fits beside the pictures."""
    sizing = plan.recipe.sizing
    limit, features = sizing.limits.value("max_input_len"), sizing.visual_prompt_tokens
    if limit is not None and limit <= features:
        better = features + (sizing.demand.text_tokens or 64)
        yield Finding(
            code="SIZ103",
            severity="error",
            message=f"max_input_len is {limit}, the pictures alone take {features} tokens",
            at=plan.recipe.where_limit("max_input_len"),
            why="no text would fit beside them",
            fix=f"max_input_len={better}",
        )
