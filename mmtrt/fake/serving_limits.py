"""Whether a request fits the engines: what the runners check, in their order.

Prompt tokens are counted as words: a stand-in has no tokenizer.

Source: TensorRT-LLM 1.2, ``ModelRunnerCpp._check_inputs``, ``promptTuningBuffers.cpp``,
``llmRequest.h`` and ``runtime/session.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmtrt.fake.engines import Engines
from mmtrt.fake.failure import ToolFailure, require
from mmtrt.fake.inputs import Request
from mmtrt.fake.parser import Flags


def check(engines: Engines, request: Request, flags: Flags) -> None:
    """Stop at the first limit that the request passes."""
    _check_vision(engines, request)
    new, beams = flags.number("--max_new_tokens"), flags.number("--num_beams")
    if not engines.is_decoder_only:
        _check_encoder_decoder(engines, request, new, beams)
        return
    prompts = [
        cost.rows + cost.marks + words(text) for cost, text in zip(request.costs, request.texts)
    ]
    _check_inputs(engines.llm, prompts, new, beams)
    across = max(cost.encoder_tokens for cost in request.costs)
    if across:
        _require_across(engines.llm, across)
    _check_table(engines, request)
    if engines.session != "python" and not engines.chunked:
        most = min(engines.llm["max_seq_len"] - 1, engines.llm["max_num_tokens"])
        require(
            max(prompts) <= most,
            "RuntimeError",
            f"[TensorRT-LLM][ERROR] Prompt length ({max(prompts)}) exceeds maximum input length "
            f"({most}). Set log level to info and check TRTGptModel logs for how maximum input "
            "length is set",
        )


def words(text: str) -> int:
    """Return the tokens of a text: one for each word."""
    return len(text.split())


def _check_vision(engines: Engines, request: Request) -> None:
    profile = engines.profile
    if profile is None or not request.items:
        return
    if not profile["min"] <= request.items <= profile["max"]:
        raise ToolFailure(
            "RuntimeError",
            f"Could not set shape ({request.items}, ...) for tensor input. Please check the "
            "profile range for which your model was build. "
            f"({profile['min']} to {profile['max']})",
        )


def _check_inputs(build: Mapping[str, Any], prompts: list[int], new: int, beams: int) -> None:
    batch, longest = len(prompts), max(prompts)
    limit = "exceeds the engine or specified limit"
    for passed, message in (
        (
            batch > build["max_batch_size"],
            f"Input batch size ({batch}) {limit} ({build['max_batch_size']})",
        ),
        (
            longest > build["max_input_len"],
            f"Maximum input length ({longest}) {limit} ({build['max_input_len']})",
        ),
        (
            longest + new > build["max_seq_len"],
            f"Maximum input length ({longest}) + maximum new tokens ({new}) {limit} "
            f"({build['max_seq_len']})",
        ),
        (
            beams > build["max_beam_width"],
            f"Num beams ({beams}) {limit} ({build['max_beam_width']})",
        ),
    ):
        require(not passed, "RuntimeError", message)


def _check_table(engines: Engines, request: Request) -> None:
    """Check the rows of the prompt-embedding table: C++ deals them out, Python does not."""
    table = engines.llm["max_prompt_embedding_table_size"]
    rows = [cost.rows for cost in request.costs]
    if engines.session == "python":
        _require_profile("prompt_embedding_table", sum(rows), table)
        return
    most = table // engines.llm["max_batch_size"]
    require(
        max(rows) <= most,
        "RuntimeError",
        f"Prompt vocab size{max(rows)} is larger than max prompt vocab size of {most}. Max prompt "
        "vocab size is computed from max_prompt_embedding_table_size / max_batch_size. ",
    )


def _check_encoder_decoder(engines: Engines, request: Request, new: int, beams: int) -> None:
    batch, build, encoder = len(request.costs), engines.llm, engines.encoder
    lengths = [cost.encoder_tokens for cost in request.costs]
    if encoder is not None:
        lengths = [c.rows + words(t) for c, t in zip(request.costs, request.texts)]
        _require_profile("input_lengths", batch, encoder["max_batch_size"])
        _require_profile("max_input_length", max(lengths), encoder["max_input_len"])
        _require_profile("input_ids", sum(lengths), encoder["max_num_tokens"])
        rows = sum(cost.rows for cost in request.costs)
        _require_profile("prompt_embedding_table", rows, encoder["max_prompt_embedding_table_size"])
    _require_profile("context_lengths", batch, build["max_batch_size"])
    _require_across(build, max(lengths))
    _require_profile("cache_indirection", beams, build["max_beam_width"])
    _require_profile("sequence_length", 1 + new, build["max_seq_len"])


def _require_across(build: Mapping[str, Any], tokens: int) -> None:
    most = build["max_encoder_input_len"]
    require(
        tokens <= most,
        "RuntimeError",
        f"[TensorRT-LLM][ERROR] Encoder length ({tokens}) exceeds maximum encoder input length "
        f"({most}).",
    )


def _require_profile(tensor: str, value: int, most: int) -> None:
    require(
        value <= most,
        "RuntimeError",
        f"IExecutionContext::setInputShape: Error Code 3: API Usage Error (Set dimension [{value}] "
        f"for tensor {tensor} does not satisfy any optimization profiles. Valid range for "
        f"profile 0: [1]..[{most}].)",
    )
