"""Flag generation settings of a local model that its answers will not follow.

## What it checks
``generation_config.json`` of a local model (``config.json`` where it has none): that it can be
read; with the native backend, settings that its runtime does not have, such as ``num_beams``, and
``do_sample``, since answers are greedy unless ``run.top_k`` says otherwise; with TensorRT-LLM,
whose runner reads no such file, every setting that changes answers.

## Why it matters
Answers are others than those of ``generate`` in transformers, and nothing in them tells.

## Example
    mmtrt check recipe=llava backend=native model.path=/models/llava-of-beams

## Use instead
    mmtrt check recipe=llava backend=native model.path=/models/llava-1.5-7b-hf

## Source
transformers 5.23, ``GenerationConfig``; TensorRT-LLM 1.2, ``run.py``, whose flags alone decide.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from mmtrt.config.generation import FILE, NOT_FOLLOWED, PROCESSORS, own_settings
from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding, Severity
from mmtrt.rules.local_model import local_config, local_downloads, wants
from mmtrt.stages import Run


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error for a file that cannot be read, a warning for what is not followed."""
    if not any(isinstance(node.stage, Run) for node in plan.active()):
        return
    is_native = plan.is_native
    for stage, directory in local_downloads(plan):
        config = local_config(directory)
        path = directory / FILE
        if config is None or not wants(stage, FILE):
            continue
        generation = None
        if path.is_file():
            try:
                generation = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError, RecursionError):
                generation = ()
            if not isinstance(generation, dict):
                yield _finding(
                    plan,
                    "error",
                    f"{FILE} of the model is no JSON object",
                    "conversion reads it",
                    f"repair {path}, or remove it",
                )
                continue
        own = own_settings(config, generation)
        given = plan.recipe.run
        if given.repetition_penalty is not None:
            own.pop("repetition_penalty", None)
        dropped = {k: v for k, v in own.items() if k in NOT_FOLLOWED or k in PROCESSORS}
        if is_native:
            dropped = {k: v for k, v in dropped.items() if k in NOT_FOLLOWED}
        if dropped:
            penalty = dropped.get("repetition_penalty")
            yield _finding(
                plan,
                "warning",
                f"answers do not follow {_listed(dropped)} of the model's {FILE}",
                "the native runtime takes one token after the other"
                if is_native
                else "TensorRT-LLM's runner does not read the file",
                f"remove {', '.join(dropped)} from {path}"
                if penalty is None
                else f"run.repetition_penalty={penalty}",
            )
        if own.get("do_sample") and given.top_k is None:
            yield _finding(
                plan,
                "info",
                f"the model's {FILE} samples its answers; here they are greedy",
                "answers of a recipe can be repeated and compared",
                f"run.top_k={own.get('top_k', 0)}",
            )


def _listed(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name}={json.dumps(value)[:40]}" for name, value in settings.items())


def _finding(plan: Plan, severity: Severity, message: str, why: str, fix: str) -> Finding:
    at = plan.recipe.where(("model", "path"))
    return Finding(code="MDL123", severity=severity, message=message, at=at, why=why, fix=fix)
