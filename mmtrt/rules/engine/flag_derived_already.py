"""Flag a tool's flag in a recipe that mmtrt writes by itself.

## What it checks
The ``flags`` of every stage against those that follow from other keys: limits, parallel sizes,
number formats, places.

## Why it matters
Of two values for one flag one wins without a word. Rules and sizes go by mmtrt's, and files that
are written elsewhere are not found.

## Example
    mmtrt check recipe=llava backend=trtllm 'recipe.stages.build_llm.flags={max_seq_len: 2624}'

## Use instead
    mmtrt check recipe=llava backend=trtllm max_seq_len=2624

## Source
``mmtrt.backends.trtllm``.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding
from mmtrt.rules.tool_flags import flag_at, flag_fix, is_trtllm
from mmtrt.stages import BuildLlm, BuildVision, Convert, Eval, Quantize, Run, Serve, Stage

PLACE = ""
"""In the place of a key: mmtrt itself decides where files lie."""

RANKS = {"tp_size": "tp", "pp_size": "pp"}
SAMPLING = {name: f"run.{name}" for name in ("top_k", "top_p", "temperature", "repetition_penalty")}
RUNTIME = {
    "session": "session",
    "enable_chunked_context": "run.enable_chunked_context",
    "mm_embedding_offloading": "run.mm_embedding_offloading",
    "kv_cache_free_gpu_memory_fraction": "run.kv_cache_free_gpu_memory_fraction",
    "max_new_tokens": "run.max_new_tokens",
    "hf_model_dir": PLACE,
    "engine_dir": PLACE,
}
LIMITS = {
    name: name
    for name in (
        *("max_batch_size", "max_input_len", "max_seq_len", "max_num_tokens"),
        *("max_multimodal_len", "max_encoder_input_len"),
    )
}
DERIVED: dict[type[Stage], Mapping[str, str]] = {
    Convert: {
        **RANKS,
        "dtype": "dtype",
        "use_weight_only": "quant",
        "weight_only_precision": "quant",
        "output_dir": PLACE,
    },
    Quantize: {
        **RANKS,
        "dtype": "quant.dtype",
        "qformat": "quant",
        "kv_cache_dtype": "quant.kv_cache_dtype",
        "calib_size": "quant.calib_size",
        "calib_dataset": "quant.calib_dataset",
        "model_dir": PLACE,
        "output_dir": PLACE,
    },
    BuildVision: {
        "max_batch_size": "vision.max_batch_size",
        "model_type": "recipe.trtllm_model_type",
        "model_path": PLACE,
        "output_dir": PLACE,
    },
    BuildLlm: {
        **LIMITS,
        "max_prompt_embedding_table_size": "max_multimodal_len",
        "max_decoder_seq_len": "max_seq_len",
        "checkpoint_dir": PLACE,
        "output_dir": PLACE,
        "input_timing_cache": PLACE,
        "output_timing_cache": PLACE,
    },
    Run: {
        **SAMPLING,
        **RUNTIME,
        **RANKS,
        "image_path": "run.image",
        "video_path": "run.video",
        "video_num_frames": "run.video_frames",
        "audio_path": "run.audio",
        "input_text": "run.prompt",
        "batch_size": "run.batch_size",
        "run_profiling": "run.run_profiling",
        "check_accuracy": "run.check_accuracy",
        # Where no engine is built:
        "prompt": "run.prompt",
        "media": "run.image",
        "max_tokens": "run.max_new_tokens",
        "num_frames": "run.video_frames",
        "kv_cache_fraction": "run.kv_cache_free_gpu_memory_fraction",
        "enable_chunked_prefill": "run.enable_chunked_prefill",
        "model_dir": PLACE,
    },
    Eval: {
        **RUNTIME,
        "dataset_dir": "eval.dataset_dir",
        "eval_task": "eval.task",
        "max_ite": "eval.max_ite",
        "accuracy_threshold": "eval.accuracy_threshold",
        "test_trtllm": "eval.test_trtllm",
        "test_hf": "eval.test_hf",
    },
    Serve: {**RANKS, "port": "serve.port", "max_batch_size": "max_batch_size"},
}
"""Kind of stage -> flag -> the key that it follows from."""

FORMATS = {"int8": "int8_wo", "int4": "int4_wo"}


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error for a place of the recipe's own, a warning for another value."""
    recipe = plan.recipe
    for node in plan.active():
        known = DERIVED.get(type(node.stage), {}) if is_trtllm(plan) else {}
        for name, value in node.stage.flags.items():
            if name not in known:
                continue
            key, away = known[name], flag_fix(recipe, node.id, name)
            if key == PLACE:
                why = "every stage writes into a directory of its own, where the next looks for it"
            else:
                why = f"{key} decides it, and rules and sizes go by that"
                away = f"{key}={shlex.quote(_text(key, name, value))} {away}"
            yield Finding(
                code="ENG205",
                severity="error" if key == PLACE else "warning",
                message=f"stage {node.id}: mmtrt writes --{name} by itself",
                at=flag_at(recipe, node.id, name),
                why=why,
                fix=away,
            )


def _text(key: str, name: str, value: object) -> str:
    """Return a flag's value as its key has it."""
    if key == "quant":
        return "int8_wo" if name == "use_weight_only" else FORMATS.get(str(value), str(value))
    if isinstance(value, list):
        return "[" + ",".join(map(str, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)
