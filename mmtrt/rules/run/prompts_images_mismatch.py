"""Flag numbers of prompts, pictures and batch items that do not pair up.

## What it checks
Where each request of the batch has a prompt and a picture of its own: as many prompts as
``run.batch_size``, and as many pictures or a single one; VILA's way of pairing allows the single
one for a lone prompt alone, Qwen2-VL's takes longer lists. The native backend repeats a single
prompt, too.

## Why it matters
``run.py`` reads item i of each list for item i of the batch, and fails or mixes them up otherwise.

## Example
    mmtrt check recipe=llava workload.batch_size=2 run.batch_size=2 'run.prompt=[a,b,c]'

## Use instead
    mmtrt check recipe=llava workload.batch_size=2 run.batch_size=2 'run.prompt=[a,b]'

## Source
TensorRT-LLM 1.2 multimodal README, LLaVA section: N images and N prompts for ``--batch_size=N``;
``MultimodalModelRunner.setup_inputs``.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.config.overrides import assigned, quoted, shell
from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding
from mmtrt.rules.request import asked
from mmtrt.stages import Run


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error for each list that does not fit the batch."""
    run = asked(plan)
    if run is None:
        return
    for key, items, fits in _lists(plan, run):
        if fits:
            continue
        yield Finding(
            code="RUN102",
            severity="error",
            message=f"run.{key} has {len(items)} item{'' if len(items) == 1 else 's'}, "
            f"run.batch_size is {run.batch_size}",
            at=plan.recipe.where(("run", key)),
            why="item i of each list belongs to item i of the batch",
            fix=_fix(plan, run, key, items),
        )


def _fix(plan: Plan, run: Run, key: str, items: tuple[str, ...]) -> str:
    """Return what makes the list fit, with a batch that the engines take."""
    recipe, batch = plan.recipe, len(items) or 1
    if batch == 1:  # the same for every request
        return shell(f"run.{key}=[{','.join([quoted(items[0])] * run.batch_size)}]")
    each, rest = divmod(batch, run.batch_size)
    most = recipe.file.native.max_images
    native = plan.is_native
    one_each = len(run.prompts) == batch  # a prompt for every picture
    if key == "image" and native and not (rest or one_each) and (most is None or each <= most):
        return f"workload.images_per_request={each}"
    wanted = {"run.batch_size": batch}
    if batch > recipe.sizing.limits.required("max_batch_size"):
        if recipe.settings.max_batch_size is None:
            wanted["workload.batch_size"] = batch
        wanted |= recipe.sizing.raised(batch)
    return assigned(wanted)


def _lists(plan: Plan, run: Run) -> Iterator[tuple[str, tuple[str, ...], bool]]:
    """Yield key, items, and whether they fit the batch; a list that is not given fits."""
    batch, prompts, images = run.batch_size, run.prompts, run.images
    pairing = plan.recipe.file.runner.pairing
    if plan.is_native:
        each = plan.recipe.sizing.demand.images_per_request
        yield "prompt", prompts, len(prompts) in (0, 1, batch)
        yield "image", images, len(images) in (0, 1, batch, batch * each)
    elif pairing == "pairs":
        yield "prompt", prompts, len(prompts) in (0, batch)
        yield "image", images, len(images) in (0, 1, batch)
    elif pairing == "marks" and not (batch == 1 and len(prompts) < 2):
        yield "prompt", prompts, len(prompts) in (0, batch)
        yield "image", images, len(images) in (0, batch)
    elif pairing == "lists":
        yield "prompt", prompts, not prompts or len(prompts) >= batch
        yield "image", images, max(len(images), 1) >= batch  # its own sample is one
