"""Flag a KV cache that takes the memory which the encoders need.

## What it checks
``run.kv_cache_free_gpu_memory_fraction`` above 0.7 for a family whose encoders PyTorch runs.

## Why it matters
The cache is allocated first, from the memory that is free then. What is left must hold the
encoders' weights and activations; where it does not, the first request runs out of memory.

## Example
    mmtrt check recipe=phi3_vision run.kv_cache_free_gpu_memory_fraction=0.9

## Use instead
    mmtrt check recipe=phi3_vision run.kv_cache_free_gpu_memory_fraction=0.6

## Source
TensorRT-LLM 1.2 multimodal README, section Phi-3-vision (0.7); NVIDIA/TensorRT-LLM issues 5872,
2773 and 1188.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding
from mmtrt.rules.request import asked_of_runner

MOST = 0.7


def check(plan: Plan) -> Iterator[Finding]:
    """Yield a warning if the encoders may not find room."""
    recipe = plan.recipe
    fraction = recipe.run.kv_cache_free_gpu_memory_fraction
    if asked_of_runner(plan) is None or not recipe.file.runner.torch_encoder:
        return
    if fraction is not None and fraction > MOST:
        yield Finding(
            code="RUN105",
            severity="warning",
            message=f"the KV cache takes {fraction:g} of the free memory before the encoders come",
            at=recipe.where(("run", "kv_cache_free_gpu_memory_fraction")),
            why=f"PyTorch runs the encoders of {recipe.name} beside the engine",
            fix=f"run.kv_cache_free_gpu_memory_fraction={MOST:g}",
        )
