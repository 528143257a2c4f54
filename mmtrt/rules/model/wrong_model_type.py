"""Flag a local model of another architecture than the recipe builds.

## What it checks
``model_type`` in the ``config.json`` of ``model.path`` (or of a variant's local directory).

## Why it matters
A LLaVA-NeXT model built as LLaVA fails inside the vision build, after download and conversion.

## Example
    mmtrt check recipe=llava model.path=/models/llava-v1.6-mistral-7b-hf

## Use instead
    mmtrt check recipe=llava_next model.path=/models/llava-v1.6-mistral-7b-hf

## Source
NVIDIA/TensorRT-LLM issue 2150; Hugging Face ``PretrainedConfig.model_type``.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding
from mmtrt.rules.local_model import local_config, local_downloads


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error for a local model that states another type."""
    file = plan.recipe.file
    wanted = plan.recipe.hf_model_type
    if plan.is_native:
        wanted = plan.recipe.variant.hf_model_type or file.native_model_type or wanted
    for _, directory in local_downloads(plan):
        # The download stage says what is wrong with a directory without one.
        found = (local_config(directory) or {}).get("model_type")
        if found is None or found == wanted:
            continue
        yield Finding(
            code="MDL102",
            severity="error",
            message=f"the model is of type {found}, {_whose(plan)} builds {wanted}",
            at=plan.recipe.where(("model", "path")),
            why="the vision build would fail after download and conversion",
            fix=_fix(plan, found),
        )


def _whose(plan: Plan) -> str:
    """Name the variant where the type is its own."""
    recipe = plan.recipe
    own = recipe.variant.hf_model_type is not None
    return f"variant {recipe.variant_name}" if own else f"recipe {recipe.name}"


def _fix(plan: Plan, found: object) -> str:
    """Name another variant that builds such models, where the recipe has one."""
    file = plan.recipe.file
    types = {n: v.hf_model_type or file.hf_model_type for n, v in file.variants.items()}
    near = next((name for name, type_ in types.items() if type_ == found), None)
    return f"variant={near}" if near else "mmtrt ls   # shows the recipe for each model type"
