"""Flag a sequence limit that leaves no room for the answer.

## What it checks
``max_seq_len`` against the pictures of one request plus the new tokens that ``run`` or ``workload``
asks for; and, with a warning, against ``max_input_len`` plus one.

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
    """Yield an error if the request cannot fit, a warning if a prompt at its limit cannot."""
    sizing = plan.recipe.sizing
    seq, prompt = sizing.limits.value("max_seq_len"), sizing.limits.value("max_input_len")
    asked = sizing.demand.max_new_tokens
    new = plan.recipe.run.max_new_tokens or asked
    if "max_new_tokens" in sizing.demand.asked:
        new = max(new, asked)
    shown, text = sizing.visual_prompt_tokens, max(sizing.demand.asked_text_tokens, 1)
    told = f"{text} text tokens" if text > 1 else "text"
    why = f"{shown} visual features + {told} + {new} new tokens"
    if sizing.architecture == "encoder_decoder":
        prompt, shown, text = START_TOKENS, 0, START_TOKENS
        why = f"{START_TOKENS} start token + {new} new tokens: the prompt goes to the encoder"
    if seq is None:
        return
    if shown + text + new > seq:
        yield Finding(
            code="SIZ104",
            severity="error",
            message=f"max_seq_len is {seq}, this request needs >= {shown + text + new}",
            at=plan.recipe.where(("run" if new != asked else "workload", "max_new_tokens")),
            why=why,
            fix=f"max_seq_len={max(prompt or shown + DEFAULT_TEXT_TOKENS, shown + text) + new}",
        )
    elif prompt is not None and seq <= prompt:
        yield Finding(
            code="SIZ104",
            # trtllm-build clips max_input_len with a warning, the native build refuses.
            severity="error" if plan.is_native else "warning",
            message=f"max_seq_len is {seq}, a prompt of max_input_len {prompt} has no answer",
            at=plan.recipe.where_limit("max_seq_len"),
            why="max_seq_len counts prompt and new tokens together",
            fix=f"max_seq_len={prompt + new}",
        )
