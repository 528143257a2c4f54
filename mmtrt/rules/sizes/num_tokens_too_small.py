"""Flag a step that is too short for a prompt at its limit.

## What it checks
``max_num_tokens``, or the 8192 that ``trtllm-build`` takes where it is not stated, against
``max_input_len``; for native engines, which read all prompts of a batch at once, also against the
prompts of ``workload.batch_size``. Not with ``run.enable_chunked_context``, which cuts prompts to
fit. ``SIZ104`` sees to ``max_seq_len``.

## Why it matters
Without chunks a prompt must fit in one step, so the runtime takes none above
``min(max_seq_len - 1, max_num_tokens)``, whatever ``max_input_len`` says. The build does not mind.

## Example
    mmtrt check recipe=llava_next max_num_tokens=2048

## Use instead
    mmtrt check recipe=llava_next max_num_tokens=4096

## Source
TensorRT-LLM 1.2 ``llmRequest.h`` ("Prompt length ... exceeds maximum input length") and
``builder.py``; NVIDIA/TensorRT-LLM issue 4641.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding

TOOL_DEFAULT = 8192
"""``--max_num_tokens`` of ``trtllm-build`` where it is not given."""


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error if the pictures alone do not fit in a step, a warning if a long prompt."""
    recipe, sizing = plan.recipe, plan.recipe.sizing
    prompt, stated = sizing.limits.value("max_input_len"), sizing.limits.value("max_num_tokens")
    native = plan.is_native
    if recipe.workflow != "engine" or sizing.architecture != "decoder" or prompt is None:
        return
    if stated is None and native:
        return  # its build derives a number that does
    step = TOOL_DEFAULT if stated is None else stated
    if recipe.run.enable_chunked_context and not native:
        return
    shown = sizing.visual_prompt_tokens + sizing.demand.asked_text_tokens
    batch = (sizing.demand.batch_size or 1) if native else 1
    if prompt <= step < batch * shown:
        yield Finding(
            code="SIZ107",
            severity="error",
            message=f"max_num_tokens is {step}, the workload needs >= {batch * shown} in a step",
            at=recipe.where_limit("max_num_tokens"),
            why=f"{batch} requests x {shown} tokens of prompt at once",
            fix=f"max_num_tokens={batch * prompt}",
        )
    if prompt <= step:
        return
    fails = native or shown >= step
    yield Finding(
        code="SIZ107",
        severity="error" if fails else "warning",
        message=f"max_num_tokens is {step}, a prompt may have {prompt} tokens",
        at=recipe.where_limit("max_num_tokens"),
        why="no chunked context: a prompt must fit in one step, whatever max_input_len says",
        fix=f"max_num_tokens={batch * prompt}",
    )
