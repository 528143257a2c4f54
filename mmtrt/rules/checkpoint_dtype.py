"""The number format in which a TensorRT-LLM checkpoint is written."""

from __future__ import annotations

from mmtrt.plan.graph import Plan
from mmtrt.stages import Convert, Quantize

CONVERTERS = (Convert, Quantize)
"""Stages that write checkpoints."""

HALVES = ("float16", "bfloat16")


def given_dtype(stage: Convert | Quantize) -> str:
    """Return what the command says; a flag of the recipe wins."""
    return str(stage.flags.get("dtype", stage.dtype)).replace("{dtype}", stage.dtype)


def real_dtype(plan: Plan, stage: Convert | Quantize) -> str:
    """Return what the command writes: ``auto`` takes the published format."""
    asked = given_dtype(stage)
    return published_dtype(plan) if asked == "auto" else asked


def published_dtype(plan: Plan) -> str:
    """Return what ``auto`` stands for: a 16-bit format as published, else float16.

    Source: TensorRT-LLM 1.2 ``infer_dtype``: float32 becomes float16.
    """
    stated = plan.recipe.variant.facts.dtype
    return stated if stated in HALVES else "float16"
