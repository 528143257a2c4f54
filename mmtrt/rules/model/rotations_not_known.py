"""Flag a local model whose rotary position embedding native engines cannot have.

## What it checks
``rope_parameters`` (older files: ``rope_scaling``) of ``model.path``: types that transformers does
not have, types without the keys that they need, and types that depend on the length of the sequence
where positions count seconds of a video.

## Why it matters
transformers computes the frequencies when the graph is exported, after download and conversion.

## Example
    mmtrt check recipe=llava_next backend=native model.path=/models/own-rotations

## Use instead
    mmtrt check recipe=llava_next variant=tiny

## Source
transformers 5.23, ``modeling_rope_utils.ROPE_INIT_FUNCTIONS``.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding
from mmtrt.rules.local_model import language_models
from mmtrt.sizing.rotary import REQUIRED_KEYS, Rotations, rotations_of

TIMED = ("qwen2_5_vl",)
"""Model types whose positions pass the length of the sequence, where a video is long."""


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error for each type that cannot be computed."""
    if not plan.is_native:
        return
    for text, model_type in language_models(plan):
        for rope in rotations_of(text, model_type):
            if problem := _problem(rope, model_type):
                yield Finding(
                    code="MDL120",
                    severity="error",
                    message=f"rope_type {rope.rope_type!r} of the model {problem[0]}",
                    at=plan.recipe.where(("model", "path")),
                    why=problem[1],
                    fix="model.path=null   # the recipe's own checkpoint",
                )


def _problem(rope: Rotations, model_type: str | None) -> tuple[str, str] | None:
    if not rope.is_known:
        return "is not known to transformers", f"it has {', '.join(REQUIRED_KEYS)}"
    if rope.lacks:
        return f"comes without {' and '.join(rope.lacks)}", "its frequencies follow from them"
    if rope.depends_on_length and model_type in TIMED:
        return "has no native engine", "positions of a long video pass the length of its sequence"
    return None
