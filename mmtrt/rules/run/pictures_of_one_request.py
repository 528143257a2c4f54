"""Flag more pictures in one request than the runner puts into it.

## What it checks
Several pictures for a family whose runner takes a single one; more pictures than a lone prompt has
places for; and several pictures for one prompt with ``session=cpp``.

## Why it matters
The runner fails when it pairs them up, after every engine is built: "pic should be PIL Image",
"Unexpected number of visual features".

## Example
    mmtrt check recipe=cogvlm 'run.image=[https://example.com/a.png,https://example.com/b.png]'

## Use instead
    mmtrt check recipe=cogvlm run.image=https://example.com/a.png

## Source
TensorRT-LLM 1.2 ``MultimodalModelRunner.setup_inputs`` and ``tokenizer_image_token``; multimodal
README: VILA modes 1 and 2, and "C++ runtime only supports single image per request".
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.config.overrides import quoted, shell
from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding
from mmtrt.rules.request import asked

MARK = "<image>"


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error if one request would get too many pictures."""
    run, runner = asked(plan), plan.recipe.file.runner
    if run is None or len(run.images) < 2:
        return
    native, most = plan.is_native, plan.recipe.file.native.max_images
    if native:
        each = plan.recipe.sizing.demand.images_per_request
        if most is not None and each > most and len(run.images) == run.batch_size * each:
            yield Finding(
                code="RUN111",
                severity="error",
                message=f"{plan.recipe.name} takes {most} picture a request, not {each}",
                at=plan.recipe.where(("workload", "images_per_request")),
                why="its prompts have a place for no more",
                fix=f"workload.images_per_request={most}",
            )
        return
    if runner.image not in ("any", "local"):
        return
    shown, first = len(run.images), shell(f"run.image={quoted(run.images[0])}")
    lone = runner.pairing == "marks" and run.batch_size == 1 and len(run.prompts) == 1
    if runner.pairing == "one":
        what, fix = f"{plan.recipe.name} takes one picture, not {shown}", first
        why = "its processor takes a picture, not a list of them"
    elif lone and run.session == "cpp":
        what, fix = f"session=cpp takes one picture a request, not {shown}", "session=cpp_llm_only"
        why = "the C++ runtime has no prompts of several pictures"
    # The text before the first mark may be a picture's place, too.
    elif lone and shown > run.prompts[0].count(MARK) + 1:
        text = MARK * (shown - run.prompts[0].count(MARK)) + run.prompts[0]
        what = f"{shown} pictures, and the prompt has {run.prompts[0].count(MARK)} {MARK}"
        fix = shell(f"run.prompt={quoted(text)}")
        why = f"each picture takes the place of one {MARK}"
    else:
        return
    yield Finding(
        code="RUN111",
        severity="error",
        message=what,
        at=plan.recipe.where(("run", "image")),
        why=why,
        fix=fix,
    )
