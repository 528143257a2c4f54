"""Flag an encoder limit that cannot hold what one request shows.

## What it checks
``max_encoder_input_len`` against the rows that the decoder attends to across: of the pictures of
one request, and of its text where the language model has an encoder that reads both.

## Why it matters
The decoder's cross attention is made for this many rows, 1024 where nothing is stated. A picture
of 6404 fails at the first request.

## Example
    mmtrt check recipe=mllama variant=11b_instruct max_encoder_input_len=4100

## Use instead
    mmtrt check recipe=mllama variant=11b_instruct max_encoder_input_len=6404

## Source
TensorRT-LLM 1.2 multimodal README, sections MLLaMA (4100, 6404 for instruct models), Nougat (588)
and Deplot (2048); NVIDIA/TensorRT-LLM issues 2419 and 10615.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error if one request has more rows than the decoder attends to."""
    sizing = plan.recipe.sizing
    limit = sizing.limits.value("max_encoder_input_len")
    because, text = sizing.image.because, 0
    if sizing.visual_input == "cross_attention":
        rows = better = sizing.encoder_tokens_per_request
    elif sizing.architecture == "encoder_decoder":
        text = 1
        rows = sizing.visual_prompt_tokens + text
        better = max(rows, sizing.limits.value("max_input_len") or rows)
    else:
        return
    if limit is not None and limit < rows:
        yield Finding(
            code="SIZ108",
            severity="error",
            message=f"max_encoder_input_len is {limit}, need >= {rows}",
            at=plan.recipe.where_limit("max_encoder_input_len"),
            why=f"{sizing.demand.images_per_request} image(s) of {because}"
            + (", and text" if text else ""),
            fix=f"max_encoder_input_len={better}",
        )
