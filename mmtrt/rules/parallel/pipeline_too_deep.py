"""Flag a pipeline parallel size that the model's conversion cannot split into.

## What it checks
``pp`` against the largest that the conversion of this model writes (``max_pp`` of the recipe or
its variant), and against the number of layers.

## Why it matters
Some conversions assert one pipeline stage; others would leave stages without a layer.

## Example
    mmtrt check recipe=phi3_vision pp=2

## Use instead
    mmtrt check recipe=phi3_vision tp=2

## Source
TensorRT-LLM 1.2 ``convert_checkpoint.py`` of phi and opt assert ``pp_size == 1``.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding, Severity
from mmtrt.rules.tool_flags import is_trtllm

ERROR: Severity = "error"
WARNING: Severity = "warning"


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error for what the conversion refuses, a warning for stages without a layer."""
    recipe, pp = plan.recipe, plan.recipe.settings.pp
    limit = recipe.variant.max_pp or recipe.file.max_pp
    severity, why = ERROR, "its conversion asserts it"
    converts = any(node.kind == "convert" for node in plan.active())
    if limit is None or not converts:  # quantize.py, where it reads the model itself, splits any
        limit = recipe.variant.facts.num_hidden_layers
        severity, why = WARNING, "it has no more layers, and each stage of the pipeline takes some"
        if plan.choice.backend.name != "trtllm":
            return  # the stand-ins do not play it
    if limit is None or pp <= limit or not is_trtllm(plan):
        return
    yield Finding(
        code="PAR103",
        severity=severity,
        message=f"pp={pp}: {recipe.name} {recipe.variant_name} has at most {limit}",
        at=recipe.where(("pp",)),
        why=why,
        fix=f"pp={limit}",
    )
