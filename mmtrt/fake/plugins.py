"""What ``trtllm-build`` makes of the plugin flags.

Source: TensorRT-LLM 1.2, ``plugin/plugin.py`` and ``builder.build``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmtrt.fake import log, parser, settings
from mmtrt.fake.failure import ToolFailure, require
from mmtrt.fake.parser import Flags

FLOATS = ("float16", "bfloat16", "float32")
TYPED = ("gemm_plugin", "gpt_attention_plugin", "lora_plugin", "nccl_plugin")
"""Plugins whose number format must be the checkpoint's."""
FP8_CONTEXT = ("FP8", "W4A8_AWQ", "NVFP4", "FP8_PER_CHANNEL_PER_TOKEN")
BLACKWELL = range(100, 120)


def plugin_config(flags: Flags, tool: str, checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plugins of an engine.

    Raises:
        ToolFailure: for what the checkpoint or the GPU cannot have.
    """
    names = [name for name in parser.table(tool) if _is_plugin(name)]
    found = {name.removeprefix("--"): flags.value(name) for name in names}
    quantization = checkpoint.get("quantization") or {}
    algorithm, kv = quantization.get("quant_algo"), quantization.get("kv_cache_quant_algo")
    _require_types(found, checkpoint)
    _require_gpu(algorithm, kv)
    if not flags.is_on("--context_fmha"):
        for name in ("use_paged_context_fmha", "use_fp8_context_fmha"):
            _switch_off(found, name, "context FMHA is disabled")
    if algorithm not in FP8_CONTEXT:
        asked = flags.has("--use_fp8_context_fmha")
        _switch_off(found, "use_fp8_context_fmha", "FP8 quantization is not used", tell=asked)
    if kv == "INT8":
        _switch_off(found, "use_paged_context_fmha", "the KV cache is INT8")
    if (
        found.get("use_fp8_context_fmha") == "enable"
        and found.get("use_paged_context_fmha") == "enable"
        and kv != "FP8"
    ):
        _switch_off(found, "use_fp8_context_fmha", "paged context FMHA needs an FP8 KV cache")
    for name in ("gemm_swiglu_plugin", "low_latency_gemm_swiglu_plugin"):
        if found.get(name) == "fp8":
            require(
                flags.is_on("--use_fused_mlp"), "RuntimeError", f"{name} requires --use_fused_mlp"
            )
    return found


def _is_plugin(name: str) -> bool:
    return name.endswith(("_plugin", "_fmha", "_fmha_fp32_acc", "_fusion")) or name in (
        *("--remove_input_padding", "--multiple_profiles", "--streamingllm", "--user_buffer"),
        *("--tokens_per_block", "--paged_state", "--use_fused_mlp", "--pp_reduce_scatter"),
    )


def _require_types(found: Mapping[str, Any], checkpoint: Mapping[str, Any]) -> None:
    """Stop at a plugin of another number format than the weights (issues #2483, #1077)."""
    dtype = checkpoint["dtype"]
    names = list(TYPED)
    if checkpoint["architecture"] == "EncoderModel":
        names.append("bert_attention_plugin")
    for name in names:
        if found.get(name) in FLOATS and found[name] != dtype:
            log.error(
                "[TRT] IBuilder::buildSerializedNetwork: Error Code 4: Internal Error (plugin "
                f"{name} of type {found[name]}: could not find any supported formats consistent "
                f"with input/output data types of {dtype})"
            )
            raise ToolFailure(
                "AssertionError", "Engine building failed, please check the error log."
            )
    quantized = (checkpoint.get("quantization") or {}).get("quant_algo")
    if found.get("gemm_plugin") == "fp8" and quantized != "FP8":
        raise ToolFailure("RuntimeError", f"gemm_plugin fp8 needs FP8 weights, not {quantized}")


def _require_gpu(algorithm: str | None, kv: str | None) -> None:
    sm = settings.read().sm
    if sm is None:
        return
    integer = algorithm is not None and algorithm.startswith(("W8A16", "W4A16", "W8A8_SQ"))
    if sm in BLACKWELL and (integer or kv == "INT8"):
        raise ToolFailure("ValueError", f"INT8/INT4 quantization is not supported on SM {sm}")
    if sm < 89 and "FP8" in (algorithm, kv):
        raise ToolFailure("ValueError", f"FP8 is not supported on SM {sm}")


def _switch_off(found: dict[str, Any], name: str, because: str, *, tell: bool = True) -> None:
    if found.get(name) == "enable":
        found[name] = "disable"
        if tell:
            log.warning(f"{name} is disabled because {because}")
