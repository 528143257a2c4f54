"""Flag a plugin of another number format than the checkpoint.

## What it checks
The formats of ``trtllm-build``'s plugins against the format in which conversion or quantization
writes the checkpoint; ``auto`` and ``{dtype}`` without a format of the quantization's own are fine.

## Why it matters
TensorRT finds no format that both sides take and stops, minutes into the build.

## Example
    mmtrt check recipe=mllama dtype=bfloat16 recipe.stages.build_llm.flags.gemm_plugin=float16

## Use instead
    mmtrt check recipe=mllama dtype=bfloat16 recipe.stages.build_llm.flags.gemm_plugin=auto

## Source
NVIDIA/TensorRT-LLM issues 2483 and 1077.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Node, Plan
from mmtrt.rules.base import Finding
from mmtrt.rules.checkpoint_dtype import CONVERTERS, real_dtype
from mmtrt.rules.tool_flags import flag_at, flag_fix, llm_builds

PLUGINS = ("gemm_plugin", "gpt_attention_plugin", "lora_plugin", "nccl_plugin")
ENCODER_PLUGINS = (*PLUGINS, "bert_attention_plugin")
FLOATS = ("float16", "bfloat16", "float32")


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error for every plugin that does not fit."""
    for node, stage in llm_builds(plan):
        dtype = _checkpoint(plan, node)
        for name in ENCODER_PLUGINS if stage.part == "encoder" else PLUGINS:
            given = str(stage.flags.get(name)).replace("{dtype}", stage.dtype)
            if dtype is not None and given in FLOATS and given != dtype:
                yield Finding(
                    code="ENG203",
                    severity="error",
                    message=f"stage {node.id}: --{name} {given} on a checkpoint in {dtype}",
                    at=flag_at(plan.recipe, node.id, name),
                    why="TensorRT finds no format that both sides take",
                    fix=flag_fix(plan.recipe, node.id, name, "auto"),
                )


def _checkpoint(plan: Plan, node: Node) -> str | None:
    """Return the format of the checkpoint that a build reads, if a stage of this plan writes it."""
    maker = node.feeds.get("checkpoint")
    stage = plan[maker].stage if maker is not None else None
    return real_dtype(plan, stage) if isinstance(stage, CONVERTERS) else None
