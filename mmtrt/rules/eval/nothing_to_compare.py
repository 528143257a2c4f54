"""Flag an evaluation that tests nothing, and a threshold that nothing is compared with.

## What it checks
``eval.test_trtllm`` and ``eval.test_hf`` both off; and ``eval.accuracy_threshold`` without
``eval.test_trtllm`` or without ``eval.task``.

## Why it matters
The engines alone are compared with the threshold. Otherwise the command ends well, as if
the gate had been passed.

## Example
    mmtrt check recipe=blip2 eval.task=lmms-lab/VQAv2 eval.test_trtllm=false

## Use instead
    mmtrt check recipe=blip2 eval.task=lmms-lab/VQAv2

## Source
TensorRT-LLM 1.2 ``eval.py`` ("Neither enable test_trtllm nor enable test_hf").
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error if nothing is tested, a warning if nothing is compared."""
    recipe, asked = plan.recipe, plan.recipe.evaluation
    threshold = asked.accuracy_threshold
    if asked.task is None:
        # A recipe may have one of its own; only the user's was meant for this command.
        if recipe.settings.eval.accuracy_threshold is not None:
            is_native = plan.is_native
            able = is_native or "trtllm" in recipe.file.runner.evaluates
            yield Finding(
                code="EVL103",
                severity="warning",
                message="eval.accuracy_threshold without eval.task",
                at=recipe.where(("eval", "accuracy_threshold")),
                why="nothing is evaluated",
                fix="eval.task=lmms-lab/VQAv2" if able else "eval.accuracy_threshold=null",
            )
    elif not asked.test_trtllm and not asked.test_hf:
        yield Finding(
            code="EVL103",
            severity="error",
            message="neither the engines nor the original model are tested",
            at=recipe.where(("eval", "test_trtllm")),
            why="the evaluation would end well without a question",
            fix="eval.test_trtllm=true",
        )
    elif not asked.test_trtllm and threshold is not None:
        yield Finding(
            code="EVL103",
            severity="warning",
            message=f"nothing is compared with the threshold of {threshold:g} %",
            at=recipe.where(("eval", "test_trtllm")),
            why="it is for the engines, which are not tested",
            fix="eval.test_trtllm=true",
        )
