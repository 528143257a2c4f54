"""Flag a checkpoint that TensorRT-LLM's runner has no prompt for.

## What it checks
The values of a local ``config.json`` by which ``run.py`` chooses its prompt, against the recipe's
``config_values``.

## Why it matters
The runner knows some checkpoints of a family by name, and stops at any other one after every engine
is built and loaded.

## Example
    mmtrt check recipe=llava_next model.path=/models/llava-v1.6-mistral-7b-hf   # says no origin

## Use instead
    mmtrt check recipe=llava_next variant=mistral_7b

## Source
TensorRT-LLM 1.2 ``MultimodalModelRunner.setup_inputs``; NVIDIA/TensorRT-LLM issue 1441.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding
from mmtrt.rules.local_model import local_config, local_downloads, value_at
from mmtrt.rules.tool_flags import is_trtllm


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error for a value that the runner stops at."""
    recipe = plan.recipe
    if not is_trtllm(plan) or not any(node.kind == "run" for node in plan.active()):
        return
    for _, directory in local_downloads(plan):
        config = local_config(directory)
        for key, known in recipe.file.config_values.items():
            if config is None or (found := value_at(config, key)) in known:
                continue
            said = f"no {key}" if found is None else f"{key} {str(found)[:80]!r}"
            yield Finding(
                code="MDL105",
                severity="error",
                message=f"the model's config.json has {said}",
                at=recipe.where(("model", "path")),
                why=f"run.py has prompts for {' and '.join(known)} only",
                fix="until=assemble   # builds the engines, for a runner of your own",
            )
