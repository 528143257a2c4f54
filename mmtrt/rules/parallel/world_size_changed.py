"""Flag a tool's flag that makes another number of ranks than the plan counts on.

## What it checks
``cp_size``, ``tp_size``, ``pp_size`` and the experts' ``moe_tp_size`` and ``moe_ep_size`` among the
flags of conversion and quantization.

## Why it matters
The checkpoint would have ``tp * pp * cp`` ranks, while engines are built, leased GPUs and started
for ``tp * pp``; the runner stops at the difference. The experts' two sizes must multiply to ``tp``.

## Example
    mmtrt check recipe=llava backend=trtllm 'recipe.stages.convert.flags={cp_size: 2}'

## Use instead
    mmtrt check recipe=llava backend=trtllm tp=2

## Source
TensorRT-LLM 1.2 ``Mapping``: ``world_size == tp * pp * cp``, ``tp == moe_tp * moe_ep``; issues
753, 1796 and 1992.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding
from mmtrt.rules.tool_flags import flag_at, flag_fix, is_trtllm
from mmtrt.stages import Convert, Quantize

SIZES = ("tp_size", "pp_size", "cp_size")
EXPERTS = ("moe_tp_size", "moe_ep_size")


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error for each stage whose flags change the number of ranks."""
    recipe = plan.recipe
    for node in plan.active():
        stage = node.stage
        if not is_trtllm(plan) or not isinstance(stage, (Convert, Quantize)):
            continue
        names, why = _changes(stage)
        if names:
            yield Finding(
                code="PAR104",
                severity="error",
                message=f"stage {node.id}: --{names[0]} makes other ranks than tp={stage.tp} "
                f"pp={stage.pp}",
                at=flag_at(recipe, node.id, names[0]),
                why=why,
                fix=" ".join(flag_fix(recipe, node.id, name) for name in names),
            )


def _changes(stage: Convert | Quantize) -> tuple[list[str], str]:
    """Return the flags that change the number of ranks, and how."""
    numbers = {name: _number(stage.flags.get(name)) for name in (*SIZES, *EXPERTS)}
    counts = {"tp_size": stage.tp, "pp_size": stage.pp, "cp_size": 1}
    for name, count in counts.items():
        if isinstance(stage, Convert) and count > 1:
            numbers[name] = 0  # mmtrt's own flag comes after it
    names = [name for name in SIZES if numbers[name] > 0 and numbers[name] != counts[name]]
    if names:
        ranks = prod(numbers[name] or count for name, count in counts.items())
        return (
            names,
            f"the checkpoint has {ranks} ranks, engines are made for {stage.tp * stage.pp}",
        )
    names = [name for name in EXPERTS if numbers[name] > 0]
    product = prod(numbers[name] for name in names)
    if names and product != stage.tp:
        return names, f"moe_tp_size * moe_ep_size is {product}, and tp {stage.tp}"
    return [], ""


def _number(value: object) -> int:
    """Return a flag's value as a number; the tool itself refuses what is none."""
    try:
        return int(str(value))
    except ValueError:
        return 0
