"""Flag prompts and pictures that the runner leaves over.

## What it checks
More than one prompt, or picture, where the family's runner uses the first; and lists longer than
``run.batch_size`` where it uses one item for each request.

## Why it matters
What is left over is dropped without a word: fewer answers come than questions were asked.

## Example
    mmtrt check recipe=blip2 'run.prompt=[Which city is this?,What is the weather?]'

## Use instead
    mmtrt check recipe=blip2 'run.prompt=Which city is this?'

## Source
TensorRT-LLM 1.2 ``MultimodalModelRunner.setup_inputs``: llava, vila and qwen2_vl use every text,
the others ``input_text[0]``.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.config.overrides import quoted, shell
from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding
from mmtrt.rules.request import asked_of_runner


def check(plan: Plan) -> Iterator[Finding]:
    """Yield a warning for each list of which a part is not used."""
    run, runner = asked_of_runner(plan), plan.recipe.file.runner
    if run is None:
        return
    used: dict[str, int] = {}
    if runner.pairing in ("one", "first"):
        used["prompt"] = 1
    if runner.pairing == "first" and runner.image in ("any", "local"):
        used["image"] = 1
    if runner.pairing == "lists":
        used = {"prompt": run.batch_size, "image": run.batch_size}
    for key, items in (("prompt", run.prompts), ("image", run.images)):
        most = used.get(key, len(items))
        if len(items) > most:
            yield Finding(
                code="RUN109",
                severity="warning",
                message=f"of {len(items)} items of run.{key} the runner uses {most}",
                at=plan.recipe.where(("run", key)),
                why=f"the runner of {plan.recipe.name} drops the rest without a word",
                fix=shell(f"run.{key}=[{','.join(quoted(each) for each in items[:most])}]"),
            )
