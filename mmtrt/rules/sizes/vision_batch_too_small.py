"""Flag a vision engine that cannot take all pictures of one full batch.

## What it checks
``vision.max_batch_size`` against pictures (or tiles) of ``max_batch_size`` requests.

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
    """Yield an error if one batch of requests brings more pictures than the engine takes."""
    sizing = plan.recipe.sizing
    batch = sizing.limits.required("max_batch_size")
    vision = sizing.limits.value("vision.max_batch_size")
    items = sizing.vision_batch(batch)
    if vision is not None and vision < items:
        slot = sizing.image.tiles_per_slot
        unit = "tile" if sizing.image.unit == "image" else sizing.image.unit
        slots = f" / {slot} that one unit admits" if slot > 1 else ""
        yield Finding(
            code="SIZ102",
            severity="error",
            message=f"vision.max_batch_size is {vision}, need >= {items}",
            at=plan.recipe.where_limit("vision.max_batch_size"),
            why=f"max_batch_size {batch} x {sizing.demand.images_per_request} image(s) x "
            f"{sizing.image.tiles} {unit}(s){slots}",
            fix=f"vision.max_batch_size={items}",
        )
