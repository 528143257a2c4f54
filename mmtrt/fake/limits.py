"""What ``trtllm-build`` makes of the limits: it adjusts most with a warning and refuses few.

Source: TensorRT-LLM 1.2, ``builder.build`` and ``BuildConfig.update_kv_cache_type``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mmtrt.fake import log
from mmtrt.fake.failure import ToolFailure, require
from mmtrt.fake.parser import Flags

FALLBACK_LEN = 2048
MANY_TOKENS = 16384
UNSCALED = ("su", "longrope", "llama3")
PAGED = {"enable": "PAGED", "disable": "CONTINUOUS"}


def build_config(flags: Flags, checkpoint: Mapping[str, Any], context_fmha: bool) -> dict[str, Any]:
    """Return the limits of an engine, adjusted as the builder does.

    Raises:
        ToolFailure: for an encoder whose lengths differ, or limits that are not positive.
    """
    found: dict[str, Any] = {
        "max_batch_size": flags.number("--max_batch_size"),
        "max_input_len": flags.number("--max_input_len"),
        "max_seq_len": flags.count("--max_seq_len"),
        "max_beam_width": flags.number("--max_beam_width"),
        "max_num_tokens": flags.number("--max_num_tokens"),
        "opt_num_tokens": flags.count("--opt_num_tokens"),
        "max_prompt_embedding_table_size": flags.number("--max_prompt_embedding_table_size"),
        "max_encoder_input_len": flags.number("--max_encoder_input_len"),
        "kv_cache_type": kv_cache_type(flags),
        "gather_context_logits": flags.is_on("--gather_context_logits"),
        "max_draft_len": flags.number("--max_draft_len"),
        "use_mrope": checkpoint.get("qwen_type") == "qwen2_vl",
        "strongly_typed": True,
        "opt_batch_size": 8,
    }
    wanted = found["opt_num_tokens"]
    # The real tool lowers it and warns. Who says both means neither.
    require(
        wanted is None or wanted <= found["max_num_tokens"],
        "AssertionError",
        f"opt_num_tokens ({wanted}) shouldn't be greater than max_num_tokens "
        f"({found['max_num_tokens']})",
    )
    if checkpoint["architecture"] == "EncoderModel":
        _equal_lengths(found)
    elif found["max_seq_len"] is None:
        found["max_seq_len"] = _deduced(checkpoint)
    _clip(found, checkpoint, context_fmha)
    return found


def _equal_lengths(found: dict[str, Any]) -> None:
    if found["max_seq_len"] is None:
        found["max_seq_len"] = found["max_input_len"]
        log.warning("max_seq_len is not specified for EncoderModel, using --max_input_len.")
    require(
        found["max_seq_len"] == found["max_input_len"],
        "AssertionError",
        f"EncoderModel should have same --max_input_len ({found['max_input_len']}) and "
        f"--max_seq_len ({found['max_seq_len']}).",
    )


def _deduced(checkpoint: Mapping[str, Any]) -> int:
    deduced = checkpoint.get("max_position_embeddings") or FALLBACK_LEN
    factor = _rotary_factor(checkpoint)
    if factor != 1:
        deduced = math.ceil(deduced * factor)
        log.warning(f"max_seq_len is scaled to {deduced} by rotary scaling {factor}")
    log.info(f"max_seq_len is not specified, using deduced value {deduced}")
    return int(deduced)


def _rotary_factor(checkpoint: Mapping[str, Any]) -> float:
    scaling = checkpoint.get("rotary_scaling") or {}
    kind = scaling.get("type", scaling.get("rope_type"))
    return 1.0 if kind in UNSCALED else float(scaling.get("factor") or 1.0)


def _clip(found: dict[str, Any], checkpoint: Mapping[str, Any], context_fmha: bool) -> None:
    longest, batch = found["max_seq_len"], found["max_batch_size"]
    positions = checkpoint.get("max_position_embeddings")
    if positions and longest > positions * _rotary_factor(checkpoint):
        log.warning(
            f"max_seq_len {longest} is larger than max_position_embeddings {positions} * rotary "
            f"scaling {_rotary_factor(checkpoint)}, the model accuracy might be affected"
        )
    if found["max_input_len"] > longest:
        log.warning(
            f"max_input_len is {found['max_input_len']} is larger than max_seq_len {longest}, "
            "clipping it to max_seq_len"
        )
        found["max_input_len"] = longest
    tokens = found["max_num_tokens"]
    if tokens > longest * batch:
        log.warning(
            f"max_num_tokens ({tokens}) shouldn't be greater than max_seq_len * max_batch_size "
            f"({longest * batch}), specifying to max_seq_len * max_batch_size ({longest * batch})."
        )
        tokens = longest * batch
    if tokens < found["max_input_len"] and not context_fmha:
        log.warning(
            f"When not using FMHA, max_num_tokens ({tokens}) should be at least max_input_len "
            f"({found['max_input_len']}), specifying to max_input_len"
        )
        tokens = found["max_input_len"]
    if tokens > MANY_TOKENS:
        log.warning(
            "Specifying a max_num_tokens larger than 16384 is usually not recommended, we do not "
            "expect perf gain with that and too large max_num_tokens could possibly exceed the "
            "TensorRT tensor volume, causing runtime errors."
        )
    found["max_num_tokens"] = tokens
    wanted = found["opt_num_tokens"] or batch * found["max_beam_width"]
    found["opt_num_tokens"] = min(tokens, wanted)


def kv_cache_type(flags: Flags) -> str:
    """Return the kind of KV cache; the two flags for it must agree.

    Raises:
        ToolFailure: if they do not.
    """
    typed, paged = flags.text("--kv_cache_type"), flags.text("--paged_kv_cache")
    if paged is not None:
        log.warning(
            "Option --paged_kv_cache is deprecated, use --kv_cache_type=paged/disabled instead."
        )
        if paged not in PAGED:
            raise ToolFailure("ValueError", f"Unexpected value {paged!r} of paged_kv_cache")
    if typed is None:
        return PAGED.get(str(paged), "PAGED")
    require(
        paged is None or (PAGED[paged] == "PAGED") == (typed.upper() == "PAGED"),
        "AssertionError",
        f"paged_kv_cache {paged} contradicts kv_cache_type {typed}",
    )
    return typed.upper()
