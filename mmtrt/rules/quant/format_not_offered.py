"""Flag a number format that the recipe, the backend, or its engine format does not have.

## What it checks
``quant`` against the recipe's ``quants``, the checkpoints and backends that each is for, and what
the chosen backend can write for the chosen engine format.

## Why it matters
Each family supports some formats only; the tools find out after loading the weights. Of mmtrt's own
engine formats ``aot_inductor`` alone has float8 weights, and it has no ``int8_sq``.

## Example
    mmtrt check recipe=mllama variant=tiny quant=fp8

## Use instead
    mmtrt check recipe=mllama variant=tiny quant=int8_sq

## Source
TensorRT-LLM 1.2 multimodal README, section of each model; ``mmtrt.backends``.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.backends import aot_engines
from mmtrt.backends.native_quant import FORMATS
from mmtrt.config.schema import QuantName
from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding

NEAREST: dict[QuantName, tuple[QuantName, ...]] = {
    "fp8": ("int8_sq", "int8_wo"),
    "int8_sq": ("int8_wo",),
    "int8_wo": ("int8_sq",),
    "int4_awq": ("int4_wo",),
    "int4_wo": ("int4_awq",),
}
"""Formats of the same size, or nearly, the likest first."""


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error if nothing can make this format."""
    recipe, quant = plan.recipe, plan.recipe.settings.quant.name
    backend = plan.choice.backend
    own, variant = recipe.file.quants, recipe.variant_name
    offered = [
        name
        for name, options in own.items()
        if options.is_for(variant, backend.name) and name in backend.formats
    ]
    if quant in offered:
        return
    has_variant = quant in own and variant in (own[quant].variants or [variant])
    choice = backend.engine_choice
    tool = f"backend {backend.name}" if choice is None else f"engine={choice.name}"
    is_made_here = has_variant and own[quant].is_made_by(backend.name)
    who = tool if is_made_here else f"{recipe.name} {variant}"
    if is_made_here and recipe.settings.tp > 1 and quant in aot_engines.FORMATS:
        who += f" with tp={recipe.settings.tp}"
    why = f"offered with {tool}: {', '.join(offered)}"
    others = [
        name
        for name in recipe.file.backends
        if has_variant and name != backend.name and own[quant].is_for(variant, name)
    ]
    near = [name for name in NEAREST.get(quant, ()) if name in offered]
    fix = f"quant={(near or offered[-1:] or ['none'])[0]}"
    engine = _engine_with(quant, plan) if is_made_here and backend.name == "native" else None
    if engine is not None:
        # Another engine format of the same toolchain.
        fix = f"engine={engine}"
        why += f"; {fix} has it"
        if recipe.settings.tp > 1:
            fix, why = f"{fix} tp=1", f"{why}, for one rank"
    elif others == ["native"]:
        why += "; backend=native has it"
    elif others == ["trtllm"]:
        why += f"; backend=trtllm has it{', on GPUs that compute in float8' * (quant == 'fp8')}"
    yield Finding(
        code="QNT101",
        severity="error",
        message=f"{who} has no quant={quant}",
        at=recipe.where(("quant",)),
        why=why,
        fix=fix,
    )


def _engine_with(quant: QuantName, plan: Plan) -> str | None:
    """Return an engine format of the native backend that has a number format for the recipe."""
    packages = aot_engines.AOT_ENGINE
    if quant in FORMATS:
        return "onnxruntime"
    has_packages = packages in plan.recipe.file.engines and quant in aot_engines.FORMATS
    return packages if has_packages else None
