"""Flag a setting of ``quant`` that changes no command.

## What it checks
Whether another value of ``quant.dtype``, ``quant.block_size``, ``quant.kv_cache_dtype``,
``quant.calib_size`` or ``quant.calib_dataset`` would make another command.

## Why it matters
Formats without calibration leave the quantization out, and no toolchain heeds every setting. What
was asked for is then not what is built, and nothing says so.

## Example
    mmtrt check recipe=llava backend=trtllm quant.kv_cache_dtype=fp8

## Use instead
    mmtrt check recipe=llava backend=trtllm quant=int4_awq quant.kv_cache_dtype=fp8

## Source
``mmtrt.backends``: how each toolchain lowers a ``quantize`` stage.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from mmtrt.backends.base import Command
from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding
from mmtrt.stages import Quantize

KEYS = ("dtype", "block_size", "kv_cache_dtype", "calib_size", "calib_dataset")


def check(plan: Plan) -> Iterator[Finding]:
    """Yield a warning for every setting that nothing looks at."""
    recipe = plan.recipe
    asked = {key: getattr(recipe.settings.quant, key) for key in KEYS}
    if recipe.settings.until or recipe.settings.only:
        return  # other stages of this recipe may heed them
    for key, value in asked.items():
        if value is not None and not _is_heeded(plan, key, value):
            yield Finding(
                code="QNT105",
                severity="warning",
                message=f"quant.{key}={value} changes nothing",
                at=recipe.where(("quant", key)),
                why=f"backend {plan.choice.backend.name} does not look at it with "
                f"quant={recipe.settings.quant.name}",
                fix=f"quant.{key}=null",
            )


def _is_heeded(plan: Plan, key: str, value: Any) -> bool:
    other: Any = value * 2 if isinstance(value, int) else f"not {value}"
    lower = plan.choice.backend.lower
    for node in plan.nodes:
        if isinstance(node.stage, Quantize):
            changed = lower(dataclasses.replace(node.stage, **{key: other}))
            if isinstance(changed, Command) and changed != lower(node.stage):
                return True
    return False
