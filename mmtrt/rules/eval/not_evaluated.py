"""Flag an evaluation that cannot be made.

## What it checks
``eval.task`` for a recipe without ``eval`` stage; with TensorRT-LLM also for a family that
``eval.py`` does not know, and ``eval.test_hf`` for one of which it cannot ask the original model.
Native engines of every family can be evaluated, and their original model asked.

## Why it matters
A recipe without ``eval`` stage would answer and end well, and the threshold would never be looked
at. For the original model ``eval.py`` stops with "Unsupported HF model_type".

## Example
    mmtrt check recipe=vila eval.task=lmms-lab/VQAv2 eval.test_hf=true

## Use instead
    mmtrt check recipe=vila eval.task=lmms-lab/VQAv2

## Source
TensorRT-LLM 1.2 multimodal README, "Dataset Evaluation", "Supported Model Types".
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error if what was asked for cannot be evaluated."""
    recipe, asked = plan.recipe, plan.recipe.evaluation
    if asked.task is None:
        return
    is_native = plan.is_native
    able = ["trtllm", "hf"] if is_native else recipe.file.runner.evaluates
    if "trtllm" not in able or all(node.kind != "eval" for node in plan.nodes):
        yield Finding(
            code="EVL102",
            severity="error",
            message=f"{recipe.name} cannot be evaluated",
            at=recipe.where(("eval", "task")),
            why="it has no stage that would measure anything"
            if is_native
            else "eval.py hands the runner one picture, which takes lists of this model: it fails"
            if able
            else "eval.py does not know its model type: nothing would be measured",
            fix="eval.task=null",
        )
    elif asked.test_hf and "hf" not in able:
        yield Finding(
            code="EVL102",
            severity="error",
            message=f"eval.py cannot ask the original model of {recipe.name}",
            at=recipe.where(("eval", "test_hf")),
            why="it has the engines' side only for this model type",
            fix="eval.test_hf=false",
        )
