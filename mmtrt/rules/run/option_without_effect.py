"""Flag an option of the runtime that the session or the workflow does not heed.

## What it checks
``run.enable_chunked_context``, ``run.mm_embedding_offloading`` and
``run.kv_cache_free_gpu_memory_fraction`` with another session than ``cpp_llm_only``, or for a model
whose runner ignores sessions; ``run.enable_chunked_prefill`` where engines are built.

## Why it matters
The option is dropped in silence: memory and times are not what was asked for.

## Example
    mmtrt check recipe=vila session=python run.kv_cache_free_gpu_memory_fraction=0.5

## Use instead
    mmtrt check recipe=vila run.kv_cache_free_gpu_memory_fraction=0.5

## Source
TensorRT-LLM 1.2 ``MultimodalModelRunner.init_llm``: these are passed on in ``cpp_llm_only`` alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding

ENGINES_ALONE = {
    "enable_chunked_context": "false",
    "mm_embedding_offloading": "null",
    "kv_cache_free_gpu_memory_fraction": "null",
}
"""Key below ``run`` -> the value that is no choice."""


def check(plan: Plan) -> Iterator[Finding]:
    """Yield a warning for every option that is dropped."""
    recipe, given = plan.recipe, plan.recipe.settings.run
    if plan.is_native:
        return
    dropped = dict(ENGINES_ALONE)
    why = f"only session=cpp_llm_only heeds it, not {recipe.settings.session}"
    if recipe.workflow == "pytorch":
        del dropped["kv_cache_free_gpu_memory_fraction"]
        why = "it is an option of engines, and workflow=pytorch builds none"
    elif not recipe.sessions:
        why = "the runner of this model ignores sessions and their options"
    elif recipe.settings.session in (None, "cpp_llm_only"):
        dropped = {}
    if recipe.workflow == "engine":
        dropped["enable_chunked_prefill"] = "false"
    for key, neutral in dropped.items():
        if getattr(given, key) in (None, False):
            continue
        reason = why
        if key == "enable_chunked_prefill":
            reason = "it is an option of workflow=pytorch; engines have run.enable_chunked_context"
        yield Finding(
            code="RUN112",
            severity="warning",
            message=f"run.{key} is without effect",
            at=recipe.where(("run", key)),
            why=reason,
            fix=f"run.{key}={neutral}",
        )
