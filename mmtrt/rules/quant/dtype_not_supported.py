"""Flag a number format that the model, or the tool that converts it, does not have.

## What it checks
The format of the checkpoint (``dtype``, ``quant.dtype``) against the choices of the conversion
script and of ``quantize.py``, the ``dtypes`` that upstream names for the family, and float32.

## Why it matters
Some scripts have no ``auto``, some models are written for one format alone, and TensorRT-LLM's
fused attention has no float32: what goes wrong shows after the weights are loaded, or as bad text.

## Example
    mmtrt check recipe=cogvlm dtype=float16

## Use instead
    mmtrt check recipe=cogvlm dtype=bfloat16

## Source
TensorRT-LLM 1.2 multimodal README ("Currently, CogVLM only support bfloat16 precision", "Support
data types" of each model); parsers of the scripts (``mmtrt/backends/flag_tables``).
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.backends.flags import problems
from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding, Severity
from mmtrt.rules.checkpoint_dtype import CONVERTERS, given_dtype, published_dtype, real_dtype
from mmtrt.rules.tool_flags import is_trtllm
from mmtrt.stages import Convert, Quantize

QUANTIZER = "quantization/quantize.py"


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error for a format that is refused, a warning for one that is not documented."""
    for node in plan.active():
        if is_trtllm(plan) and isinstance(node.stage, CONVERTERS):
            found = _problem(plan, node.stage)
            if found is not None:
                yield found


def _problem(plan: Plan, stage: Convert | Quantize) -> Finding | None:
    recipe, asked = plan.recipe, given_dtype(stage)
    real, support = real_dtype(plan, stage), recipe.file.dtypes
    who = f"{recipe.name} {recipe.variant_name}"
    if support is not None and real not in support.supported:
        names = " and ".join(support.supported)
        refused = support.others == "refused"
        why = f"upstream {'supports' if refused else 'documents'} {names} only"
        severity: Severity = "error" if refused else "warning"
        return _finding(plan, stage, severity, f"{who} in {real}", why, support.supported[0])
    usual = published_dtype(plan)
    if not _is_taken(plan, stage, asked):
        script = (stage.script or QUANTIZER).split("/")[-2:]
        message = f"{'/'.join(script)} has no dtype {asked}"
        return _finding(plan, stage, "error", message, "its parser has other choices", usual)
    if real == "float32":
        why = "fused attention has 16-bit kernels only; the engine is large and slow at best"
        return _finding(plan, stage, "warning", f"{who} in float32", why, usual)
    return None


def _is_taken(plan: Plan, stage: Convert | Quantize, dtype: str) -> bool:
    """Return whether the parser of the stage's script has the format among its choices."""
    words = ["python", f"examples/{stage.script or QUANTIZER}", "--dtype", dtype]
    found = problems(words, plan.recipe.settings.trtllm.version)
    return not any("--dtype must be" in problem for problem in found)


def _finding(
    plan: Plan, stage: Convert | Quantize, severity: Severity, message: str, why: str, better: str
) -> Finding:
    settings = plan.recipe.settings
    by_quant = isinstance(stage, Quantize) and settings.quant.dtype is not None
    key = "quant.dtype" if by_quant else "dtype"
    return Finding(
        code="QNT102",
        severity=severity,
        message=message,
        at=plan.recipe.where(tuple(key.split("."))),
        why=why,
        fix=f"{key}={better}",
    )
