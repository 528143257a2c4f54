"""Flags that a recipe gives to TensorRT-LLM's tools: where they are written, how to change them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from mmtrt.config.recipe import Recipe
from mmtrt.plan.graph import Node, Plan
from mmtrt.stages import BuildLlm

TOOLCHAINS = ("trtllm", "fake")
"""Backends whose commands are TensorRT-LLM's: its own tools, and the stand-ins that play them."""

SWITCHES = {"enable": True, "true": True, "yes": True, "1": True}


def is_trtllm(plan: Plan) -> bool:
    """Return whether the plan's commands are TensorRT-LLM's."""
    return plan.choice.backend.name in TOOLCHAINS


def llm_builds(plan: Plan) -> Iterator[tuple[Node, BuildLlm]]:
    """Yield the calls of ``trtllm-build``; none on another toolchain."""
    for node in plan.active():
        if is_trtllm(plan) and isinstance(node.stage, BuildLlm):
            yield node, node.stage


def is_on(value: Any) -> bool:
    """Return whether a flag's value, ``enable`` or a bare flag's, switches it on."""
    return value is True or SWITCHES.get(str(value).lower(), False)


def is_off(value: Any) -> bool:
    """Return whether a flag is given, and switched off."""
    return value is not None and not is_on(value)


def flag_key(recipe: Recipe, stage_id: str, name: str) -> tuple[str, ...]:
    """Return the key that states a flag of a stage: the format's, the variant's or the recipe's."""
    quant = recipe.settings.quant.name
    if name in recipe.quant.flags.get(stage_id, {}):
        return ("recipe", "quants", quant, "flags", stage_id, name)
    if stage_id in recipe.variant.stages:
        return ("recipe", "variants", recipe.variant_name, "stages", stage_id, "flags", name)
    if stage_id in recipe.native.stages:
        return ("recipe", "native", "stages", stage_id, "flags", name)
    return ("recipe", "stages", stage_id, "flags", name)


def flag_at(recipe: Recipe, stage_id: str, name: str) -> str:
    """Tell where a flag of a stage was written."""
    return recipe.where(flag_key(recipe, stage_id, name))


def flag_fix(recipe: Recipe, stage_id: str, name: str, value: str = "null") -> str:
    """Return the override that gives a flag another value; ``null`` takes it away."""
    # ++ changes a flag wherever it is written, and adds one that is not.
    return shlex.quote(f"++{'.'.join(flag_key(recipe, stage_id, name))}={value}")
