"""Flag a published checkpoint in its authors' own layout, where native engines are asked for.

## What it checks
``backend=native`` with a checkpoint of a hub, of a recipe whose published files are read by their
authors' own code.

## Why it matters
Native stages read the layout of transformers and run no code that comes with a model: ``convert``
would refuse the checkpoint, after its download.

## Example
    mmtrt check recipe=internvl2 backend=native

## Use instead
    mmtrt check recipe=internvl2 variant=tiny

## Source
``model_type`` in the published ``config.json`` and in transformers 5.23, which has the
architecture under another name.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding
from mmtrt.stages import Download


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error if a native plan starts from such a checkpoint."""
    recipe, wanted = plan.recipe, plan.recipe.file.native_model_type
    if wanted is None or not plan.is_native:
        return
    published = recipe.variant.repo_id
    fetched = [node.stage for node in plan.active() if isinstance(node.stage, Download)]
    if published is not None and any(stage.repo_id == published for stage in fetched):
        yield Finding(
            code="MDL106",
            severity="error",
            message=f"no native engine can be made of {published}",
            at=recipe.where(("backend", "name")),
            why=f"it is laid out for its authors' own code ({recipe.file.hf_model_type}), which is "
            f"never run; native stages read a checkpoint of type {wanted}, by model.path",
            fix="backend=trtllm",
        )
