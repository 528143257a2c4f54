"""Flag a session that the runner does not have for this model.

## What it checks
``session`` against the recipe's ``sessions``, or the checkpoint's where it has its own.

## Why it matters
``run.py`` takes another session with no more than a warning, so what is measured is not what was
asked for. Encoder-decoder models ignore the flag altogether.

## Example
    mmtrt check recipe=llava_next session=cpp

## Use instead
    mmtrt check recipe=llava_next session=cpp_llm_only

## Source
TensorRT-LLM 1.2 multimodal README, "Runtime Modes", and ``MultimodalModelRunner``: ``cpp`` for
llava, vila, blip2-opt, kosmos-2, fuyu, cogvlm, neva, internvl and internlm; qwen2_vl knows
``cpp_llm_only`` alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error if the runner would take another session."""
    recipe = plan.recipe
    session, offered = recipe.settings.session, recipe.sessions
    if session is None or session in offered or plan.is_native:
        return
    who = f"{recipe.name} {recipe.variant_name}"
    yield Finding(
        code="RUN103",
        severity="error",
        message=f"{who} has no session={session}",
        at=recipe.where(("session",)),
        why=f"run.py has {', '.join(offered)} for it" if offered else "run.py ignores it here",
        fix=f"session={offered[0] if offered else 'null'}",
    )
