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
from mmtrt.sizing.solve import DEFAULT_TEXT_TOKENS, START_TOKENS


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error if a prompt at its limit cannot be answered, or the request cannot fit."""
    sizing = plan.recipe.sizing
    seq, prompt = sizing.limits.value("max_seq_len"), sizing.limits.value("max_input_len")
    new = plan.recipe.run.max_new_tokens or sizing.demand.max_new_tokens
    shown = sizing.visual_prompt_tokens
    why = f"{shown} visual features + text + {new} new tokens"
    if sizing.architecture == "encoder_decoder":
        prompt, shown = START_TOKENS, 0
        why = f"{START_TOKENS} start token + {new} new tokens: the prompt goes to the encoder"
    if seq is None:
        return
    if prompt is not None and seq <= prompt:
        yield Finding(
            code="SIZ104",
            severity="error",
            message=f"max_seq_len is {seq}, a prompt of max_input_len {prompt} has no answer",
            at=plan.recipe.where_limit("max_seq_len"),
            why="max_seq_len counts prompt and new tokens together",
            fix=f"max_seq_len={prompt + new}",
        )
    elif shown + 1 + new > seq:
        yield Finding(
            code="SIZ104",
            severity="error",
            message=f"max_seq_len is {seq}, this request needs >= {shown + 1 + new}",
            at=plan.recipe.where(("run", "max_new_tokens")),
            why=why,
            fix=f"max_seq_len={(prompt or shown + DEFAULT_TEXT_TOKENS) + new}",
        )
