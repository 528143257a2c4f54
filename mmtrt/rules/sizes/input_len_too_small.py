"""Flag a prompt limit that the visual features alone fill up.

## What it checks
``max_input_len`` against the visual features of one request and its text: one token, or
``workload.text_tokens`` where it is given.

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
from mmtrt.sizing.solve import DEFAULT_TEXT_TOKENS


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error if no text fits beside the pictures."""
    sizing = plan.recipe.sizing
    limit, features = sizing.limits.value("max_input_len"), sizing.visual_prompt_tokens
    text = sizing.demand.asked_text_tokens
    if limit is None or limit >= features + max(text, 1):
        return
    alone = limit <= features
    yield Finding(
        code="SIZ103",
        severity="error",
        message=f"max_input_len is {limit}, "
        + (
            f"the pictures alone take {features} tokens"
            if alone
            else f"the workload needs >= {features + text}"
        ),
        at=plan.recipe.where_limit("max_input_len"),
        why="no text would fit beside them"
        if alone
        else f"{features} visual features + {text} text tokens",
        fix=f"max_input_len={features + (sizing.demand.text_tokens or DEFAULT_TEXT_TOKENS)}",
    )
