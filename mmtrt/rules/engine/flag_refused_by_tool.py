"""Flag a flag or a value that the tool of this TensorRT-LLM version refuses.

## What it checks
Every word of every TensorRT-LLM command of the plan against the flags, choices and number types
of that version's tools.

## Why it matters
The tool refuses it when its turn comes, after every stage before it has run.

## Example
    mmtrt check recipe=llava backend=trtllm 'recipe.stages.build_llm.flags={max_output_len: 64}'

## Use instead
    mmtrt check recipe=llava backend=trtllm max_seq_len=2624

## Source
Argument parsers of TensorRT-LLM 1.0 to 1.2 (``mmtrt/backends/flag_tables``);
NVIDIA/TensorRT-LLM issues 3349, 1700, 2058 and 2021.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.backends.flags import problems
from mmtrt.plan.graph import Plan
from mmtrt.plan.render import symbolic
from mmtrt.rules.base import Finding


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error for every word that a tool refuses."""
    recipe = plan.recipe
    if plan.choice.backend.name != "trtllm":
        return
    for node in plan.active():
        if node.command is None:
            continue
        for problem in problems(symbolic(node.command), recipe.settings.trtllm.version):
            yield Finding(
                code="ENG201",
                severity="error",
                message=f"stage {node.id}: {problem}",
                at=recipe.where(("recipe", "stages", node.id, "flags")),
                why=f"TensorRT-LLM {recipe.settings.trtllm.version} would refuse this command",
                fix="mmtrt plan -v   # shows the command",
            )
