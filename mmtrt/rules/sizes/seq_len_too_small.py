"""Flag a sequence limit that leaves no room for the answer.

## What it checks
``max_seq_len`` against ``max_input_len`` plus one, and against the pictures of one request plus
the new tokens that ``run`` asks for.

## Why it matters
``max_seq_len`` counts prompt and answer together. The KV cache is made for it, so a longer
sequence cannot be served.

## Example
    mmtrt check recipe=llava run.max_new_tokens=2000

## Use instead
    mmtrt check recipe=llava run.max_new_tokens=2000 max_seq_len=4048

## Source
TensorRT-LLM 1.2 ``trtllm-build`` and C++ runtime: prompt + max_new_tokens <= max_seq_len.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error if a prompt at its limit cannot be answered, or the request cannot fit."""
    sizing = plan.recipe.sizing
    seq, prompt = sizing.limits.required("max_seq_len"), sizing.limits.required("max_input_len")
    new = plan.recipe.run.max_new_tokens or sizing.demand.max_new_tokens
    features = sizing.features_per_request
    if seq <= prompt:
        yield Finding(
            code="SIZ104",
            severity="error",
            message=f"max_seq_len is {seq}, a prompt of max_input_len {prompt} has no answer",
            at=plan.recipe.where(("max_seq_len",)),
            why="max_seq_len counts prompt and new tokens together",
            fix=f"max_seq_len={prompt + new}",
        )
    elif features + 1 + new > seq:
        yield Finding(
            code="SIZ104",
            severity="error",
            message=f"max_seq_len is {seq}, this request needs >= {features + 1 + new}",
            at=plan.recipe.where(("run", "max_new_tokens")),
            why=f"{features} visual features + text + {new} new tokens",
            fix=f"max_seq_len={prompt + new}",
        )
