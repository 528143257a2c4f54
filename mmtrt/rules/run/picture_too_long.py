"""Flag a picture of a shape that the model's processor refuses.

## What it checks
The sides of local pictures of ``run.image``, and ``workload.image_size``, for Qwen2-VL: more than
200 times as long as wide.

## Why it matters
The processor refuses such a picture when all engines are built, whatever their limits.

## Example
    mmtrt check recipe=qwen2_vl variant=tiny 'workload.image_size=[1000,4]'

## Use instead
    mmtrt check recipe=qwen2_vl variant=tiny 'workload.image_size=[800,4]'

## Source
transformers 5.23 ``smart_resize`` of ``image_processing_qwen2_vl`` ("absolute aspect ratio must be
smaller than 200").
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding
from mmtrt.rules.picture import size_of
from mmtrt.rules.request import asked
from mmtrt.sizing.features.native_resolution import LONGEST_ASPECT, is_too_long


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error for each picture that is refused."""
    recipe, run = plan.recipe, asked(plan)
    if recipe.file.family != "qwen2_vl" or not plan.is_native or run is None:
        return
    shown = [("image", place, size_of(place)) for place in run.images]
    sizes = [(("run", key), place, size) for key, place, size in shown]
    sizes.append((("workload", "image_size"), "the workload", recipe.sizing.demand.image_size))
    for keys, what, size in sizes:
        if size is not None and is_too_long(size):
            height, width = size
            short = -(-max(size) // LONGEST_ASPECT)
            fitting = [height, short] if height > width else [short, width]
            is_run = keys[0] == "run"
            yield Finding(
                code="RUN122",
                severity="error",
                message=f"{what}: {height} x {width} pixels, one side is more than "
                f"{LONGEST_ASPECT} times the other",
                at=recipe.where(keys),
                why=f"the processor of {recipe.name} refuses the picture, whatever the limits",
                fix="run.image=null   # or one cut to a wider shape"
                if is_run
                else f"'workload.image_size=[{fitting[0]},{fitting[1]}]'",
            )
