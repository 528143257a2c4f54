"""Flag sequences so long that a local model would rotate its positions otherwise.

## What it checks
``max_seq_len`` of native engines against the length up to which the rotary embedding of
``model.path`` is constant: ``max_position_embeddings`` for ``rope_type`` ``dynamic``,
``original_max_position_embeddings`` for ``longrope``.

## Why it matters
An exported graph holds the rotations of the short form. The model itself takes other ones for every
token once a sequence is longer.

## Example
    mmtrt check recipe=phi4_multimodal backend=native model.path=/models/phi-4-hf
        run.image=/models/picture.png max_seq_len=8192

## Use instead
    mmtrt check recipe=phi4_multimodal backend=native model.path=/models/phi-4-hf
        run.image=/models/picture.png max_seq_len=4096

## Source
transformers 5.23, ``modeling_rope_utils.dynamic_rope_update``.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.config.recipe import priced
from mmtrt.config.schema import Workload
from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding
from mmtrt.rules.local_model import language_models
from mmtrt.sizing.rotary import rotations_of
from mmtrt.sizing.solve import START_TOKENS, prompt_tokens

SIDES = (1024, 896, 672, 560, 448, 336, 224, 112, 56)
"""Sides of pictures that a fix tries, the largest first."""


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error if the engine is to hold longer sequences."""
    seq = plan.recipe.sizing.limits.value("max_seq_len")
    if seq is None or not plan.is_native:
        return
    positions = plan.recipe.variant.facts.max_position_embeddings
    for text, model_type in language_models(plan):
        for rope in rotations_of(text, model_type, positions):
            longest = rope.constant_len
            if longest is not None and seq > longest:
                yield Finding(
                    code="SIZ120",
                    severity="error",
                    message=f"max_seq_len is {seq}, the model rotates positions otherwise beyond "
                    f"{longest}",
                    at=plan.recipe.where_limit("max_seq_len"),
                    why=f"its rope_type is {rope.rope_type}, and the graph holds one set of "
                    "rotations",
                    fix=limits_within(plan, longest),
                )
                return


def limits_within(plan: Plan, longest: int) -> str:
    """Return overrides with which no sequence is longer, smaller pictures among them if need be."""
    sizing = plan.recipe.sizing
    prompt, shown = sizing.limits.value("max_input_len"), sizing.visual_prompt_tokens
    text = max(sizing.demand.asked_text_tokens, 1)
    new = plan.recipe.run.max_new_tokens or sizing.demand.max_new_tokens
    if sizing.architecture == "encoder_decoder":
        prompt, shown, text = START_TOKENS, 0, START_TOKENS
    words = []
    if shown + text + 1 > longest:
        sizes = ([side, side] for side in SIDES)
        cost = ((size, priced(plan.recipe, Workload(image_size=size))) for size in sizes)
        heard = shown - prompt_tokens(sizing.demand, sizing.image)
        taken = ((size, prompt_tokens(sizing.demand, each, heard)) for size, each in cost if each)
        fits = ((size, tokens) for size, tokens in taken if tokens + text + 1 <= longest)
        size, shown = next(fits, ([SIDES[-1]] * 2, 0))
        words.append(f"workload.image_size=[{size[0]},{size[1]}]")
    if shown + text + new > longest:
        new = longest - shown - text
        words.append(f"run.max_new_tokens={new}")
    if prompt is None or prompt + new > longest or words:
        words.append(f"max_input_len={max(longest - new, 1)}")
    return " ".join([*words, f"max_seq_len={longest}"])
