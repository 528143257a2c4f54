"""Flag a local model whose weights are quantized already.

## What it checks
What a model's own files say of it: ``quantization_config`` or ``compression_config`` of
``config.json``, at its top or of its language model, and the files ``hf_quant_config.json``,
``quantize_config.json`` and ``quant_config.json``.

## Why it matters
Packed weights have other shapes, types and names than the layers they belong to. The conversions
read plain ones and fail on the first of them, after the download.

## Example
    mmtrt check recipe=llava backend=native model.path=/models/llava-bnb-4bit

## Use instead
    mmtrt check recipe=llava backend=native quant=int4_wo

## Source
transformers 5.23, ``quantizers.auto.AUTO_QUANTIZATION_CONFIG_MAPPING``; TensorRT-LLM 1.2:
``convert_checkpoint.py`` takes packed weights by ``--quant_ckpt_path`` alone, and the PyTorch
workflow those of ``_torch/model_config.py``; NVIDIA/TensorRT-LLM issue 1528.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmtrt.artifacts.faults import quoted
from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding
from mmtrt.rules.local_model import language_model, local_config, local_downloads
from mmtrt.stages import Convert

KEYS = ("quantization_config", "compression_config")
FILES = {
    "hf_quant_config.json": "modelopt",
    "quantize_config.json": "gptq",
    "quant_config.json": "awq",
}
"""File beside the weights -> the tool that writes it."""
PYTORCH_READS = ("modelopt", "fp8", "mxfp4", "nvfp4", "compressed-tensors")
"""Methods that TensorRT-LLM's PyTorch workflow loads."""
NEAREST = {4: "int4_wo", 8: "int8_wo"}
"""Bits of a weight -> the format to make of the plain model."""


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error that names the method, and the format to ask for in its place."""
    backend = plan.choice.backend.name
    if any(
        isinstance(node.stage, Convert) and "quant_ckpt_path" in node.stage.flags
        for node in plan.active()
    ):
        return
    for _, directory in local_downloads(plan):
        config = local_config(directory)
        parts = [] if config is None else [config, language_model(config)]
        found = _stated(parts, directory)
        if found is None:
            continue
        where, method, bits = found
        if plan.recipe.workflow == "pytorch" and method in PYTORCH_READS:
            continue
        reader = "native stages read" if backend == "native" else "the conversion reads"
        yield Finding(
            code="MDL122",
            severity="error",
            message=f"the weights of {quoted(str(directory))} are quantized already: {method}",
            at=plan.recipe.where(("model", "path")),
            why=f"{where} says so; {reader} float32, float16 and bfloat16 weights",
            fix=_fix(plan, bits),
        )


def _stated(parts: list[dict[str, Any]], directory: Path) -> tuple[str, str, int] | None:
    """Return where a model says that it is quantized, by which method, and to how many bits."""
    for part in parts:
        for key in KEYS:
            if isinstance(stated := part.get(key), dict) and stated:
                return f"{key} in config.json", _method(key, stated), _bits(stated)
    for name, method in FILES.items():
        if (directory / name).is_file():
            return name, method, 4 if method != "modelopt" else 8
    return None


def _method(key: str, stated: Mapping[str, Any]) -> str:
    """Return the method; files older than the key for it are of bitsandbytes."""
    if (method := stated.get("quant_method")) is not None:
        return str(method)
    if any(name.startswith(("load_in_", "bnb_")) for name in stated):
        return "bitsandbytes"
    return "compressed-tensors" if key == "compression_config" else "unknown method"


def _bits(stated: Mapping[str, Any]) -> int:
    """Return the bits of a weight, 8 where they are not told."""
    bits = stated.get("bits", stated.get("w_bit", stated.get("nbits")))
    is_four = stated.get("load_in_4bit") is True or stated.get("quant_method") in ("mxfp4", "nvfp4")
    return 4 if bits in (2, 3, 4) or is_four else 8


def _fix(plan: Plan, bits: int) -> str:
    """Return the format of the recipe's own checkpoint that is nearest, where it has one."""
    recipe, backend = plan.recipe, plan.choice.backend.name
    options = recipe.file.quants
    wanted = (NEAREST[bits], *NEAREST.values())
    known = (
        name
        for name in wanted
        if (option := options.get(name)) is not None  # type: ignore[call-overload]
        and option.is_for(recipe.variant_name, backend)
        and name in plan.choice.backend.formats
    )
    quant = next(known, None)
    return f"model.path=null quant={quant}" if quant else "model.path=null"
