"""Flag offloading of the embedding table where prompts are not cut into chunks.

## What it checks
``run.mm_embedding_offloading=true`` without ``run.enable_chunked_context=true``.

## Why it matters
The table is fetched chunk by chunk. Without chunks ``run.py`` drops the option with a warning, and
the memory that was to be saved is not.

## Example
    mmtrt check recipe=vila run.mm_embedding_offloading=true

## Use instead
    mmtrt check recipe=vila run.mm_embedding_offloading=true run.enable_chunked_context=true

## Source
TensorRT-LLM 1.2 multimodal README, "Enabling Embedding Table Offloading": "only available when
operating in context chunk mode".
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding


def check(plan: Plan) -> Iterator[Finding]:
    """Yield a warning if the option would be dropped for want of chunks."""
    recipe, run = plan.recipe, plan.recipe.run
    if plan.is_native or not recipe.sessions:
        return  # RUN112 says that both are without effect there
    if run.mm_embedding_offloading and not run.enable_chunked_context:
        yield Finding(
            code="RUN104",
            severity="warning",
            message="run.mm_embedding_offloading is dropped without chunked context",
            at=recipe.where(("run", "mm_embedding_offloading")),
            why="the table is fetched chunk by chunk",
            fix="run.enable_chunked_context=true",
        )
