"""Flag a number format that the GPU of the engines cannot compute with.

## What it checks
``quant`` and ``quant.kv_cache_dtype`` against the compute capability of ``target.sm``, or of this
host's GPU: float8 from 8.9 on, also for packages of ``engine=aot_inductor``; for TensorRT-LLM also
int8 and int4 weights, SmoothQuant and an int8 KV cache not on 10.0 to 11.9.

## Why it matters
``trtllm-build`` or ``build_llm`` refuses it, after download, conversion and calibration.

## Example
    mmtrt check recipe=qwen2_vl quant=fp8 target.sm=80

## Use instead
    mmtrt check recipe=qwen2_vl quant=fp8 target.sm=90

## Source
TensorRT-LLM 1.2 ``commands/build.py`` and support matrix; NVIDIA CUDA, compute capabilities;
Triton 3.6, ``supported_fp8_dtypes``, for packages.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.backends.aot_engines import AOT_ENGINE
from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding

FP8_SM = 89
"""The first that computes in float8."""
NO_INTEGERS = range(100, 120)
"""Data-centre Blackwell, for which there are no kernels with integer weights."""
INTEGER = ("int8_wo", "int4_wo", "int4_awq", "int8_sq")


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error for weights or a KV cache that the GPU has no arithmetic for."""
    recipe, host, backend = plan.recipe, plan.choice.host, plan.choice.backend
    if backend.name == "native":
        yield from _of_packages(plan)
        return
    sm = recipe.settings.target.sm or (host.gpus[0].sm if host.gpus else None)
    if sm is None or backend.name != "trtllm":
        return
    format_ = recipe.settings.quant.name
    cache = recipe.quant.kv_cache_dtype
    if not any(node.kind == "quantize" for node in plan.active()):
        cache = None
    own = f"{recipe.name} on sm {sm}"
    if _is_refused(format_, sm):
        offered = [
            name
            for name, options in recipe.file.quants.items()
            if not _is_refused(name, sm)
            and (not options.variants or recipe.variant_name in options.variants)
        ]
        yield Finding(
            code="QNT103",
            severity="error",
            message=f"{own} cannot have quant={format_}",
            at=recipe.where(("target", "sm") if recipe.settings.target.sm else ("quant",)),
            why=_why(format_),
            fix=f"quant={offered[-1] if offered else 'none'}",
        )
    elif cache is not None and _is_refused(cache, sm):
        yield Finding(
            code="QNT103",
            severity="error",
            message=f"{own} cannot have a KV cache in {cache}",
            at=recipe.where(("quant", "kv_cache_dtype")),
            why=_why(cache),
            fix="quant.kv_cache_dtype=null",
        )


def _of_packages(plan: Plan) -> Iterator[Finding]:
    """Yield an error for packages with float8 weights; a processor converts them by itself."""
    recipe, choice = plan.recipe, plan.choice.backend.engine_choice
    sm = (plan.choice.backend.gpu_class() or {}).get("sm")
    is_float8 = recipe.settings.quant.name == "fp8"
    if choice is None or choice.name != AOT_ENGINE or not is_float8:
        return
    if isinstance(sm, int) and sm < FP8_SM:
        yield Finding(
            code="QNT103",
            severity="error",
            message=f"engine={AOT_ENGINE} on sm {sm} cannot have quant=fp8",
            at=recipe.where(("target", "sm") if recipe.settings.target.sm else ("quant",)),
            why=_why("fp8"),
            fix="quant=int8_wo",
        )


def _is_refused(format_: str, sm: int) -> bool:
    if format_ == "fp8":
        return sm < FP8_SM
    return sm in NO_INTEGERS and format_ in (*INTEGER, "int8")


def _why(format_: str) -> str:
    if format_ == "fp8":
        return f"float8 needs compute capability {FP8_SM / 10:g} or later"
    return "TensorRT-LLM has no integer kernels for compute capability 10.0 to 11.9"
