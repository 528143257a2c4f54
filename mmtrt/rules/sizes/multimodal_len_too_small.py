"""Flag a prompt-embedding table that cannot hold one full batch of requests.

## What it checks
``max_multimodal_len // max_batch_size`` against the visual features of one request.

## Why it matters
The runtime grants each request an equal share of the table, rounded down. One row too few and the
first request fails, after every engine is built.

## Example
    mmtrt check recipe=llava max_batch_size=2 max_multimodal_len=576

## Use instead
    mmtrt check recipe=llava max_batch_size=2 max_multimodal_len=1152

## Source
TensorRT-LLM 1.2 C++ runtime ("Prompt vocab size ... larger than max prompt vocab size");
NVIDIA/TensorRT-LLM issues 928, 1382, 1444.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error if a request's share is smaller than its features."""
    sizing = plan.recipe.sizing
    batch = sizing.limits.required("max_batch_size")
    table = sizing.limits.value("max_multimodal_len")
    features = sizing.features_per_request
    if table is not None and batch > 0 and table // batch < features:
        yield Finding(
            code="SIZ101",
            severity="error",
            message=f"max_multimodal_len is {table}, need >= {batch * features}",
            at=plan.recipe.where_limit("max_multimodal_len"),
            why=f"max_batch_size {batch} x {features} visual features per request "
            f"({sizing.image.because})",
            fix=f"max_multimodal_len={batch * features}",
        )
