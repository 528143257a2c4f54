"""Flag a vision engine that cannot take all pictures of one full batch.

## What it checks
``vision.max_batch_size`` against pictures (or tiles) of ``max_batch_size`` requests. It is a
warning as long as the workload's own batch fits.

## Why it matters
The engine's profile ends at this number; one picture more and setting the shape fails at run time.

## Example
    mmtrt check recipe=llava max_batch_size=4 vision.max_batch_size=2

## Use instead
    mmtrt check recipe=llava max_batch_size=4 vision.max_batch_size=4

## Source
TensorRT-LLM 1.2 ``multimodal_builder.py`` (profile of the batch axis) and ``run.py`` ("Could not
set shape ... check the profile range"); NVIDIA/TensorRT-LLM issue 1382.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error if the workload brings more pictures than the engine takes."""
    sizing = plan.recipe.sizing
    batch = sizing.limits.required("max_batch_size")
    vision = sizing.limits.value("vision.max_batch_size")
    items, runner = sizing.vision_batch(batch), plan.recipe.file.runner
    native = plan.is_native
    if runner.torch_encoder and not native:
        return  # no vision engine is built
    if vision is not None and vision < items:
        usual = max(sizing.demand.batch_size or 1, plan.recipe.run.batch_size)
        fails = vision < sizing.vision_batch(1 if runner.looks_once and not native else usual)
        slot = sizing.image.tiles_per_slot
        unit = "tile" if sizing.image.unit == "image" else sizing.image.unit
        slots = f" / {slot} that one unit admits" if slot > 1 else ""
        yield Finding(
            code="SIZ102",
            severity="error" if fails else "warning",
            message=f"vision.max_batch_size is {vision}, need >= {items}",
            at=plan.recipe.where_limit("vision.max_batch_size"),
            why=f"max_batch_size {batch} x {sizing.demand.images_per_request} image(s) x "
            f"{sizing.image.tiles} {unit}(s){slots}",
            fix=f"vision.max_batch_size={items}",
        )
