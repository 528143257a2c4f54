"""What a checkpoint asks of the choice of tokens: its ``generation_config.json``.

Source: transformers 5.23, ``GenerationConfig`` and ``GenerationMixin._get_logits_processor``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FILE = "generation_config.json"

PROCESSORS: Mapping[str, Any] = {
    "sequence_bias": None,
    "encoder_repetition_penalty": 1.0,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "bad_words_ids": None,
    "min_length": 0,
    "min_new_tokens": 0,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "remove_invalid_values": False,
    "exponential_decay_length_penalty": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "watermarking_config": None,
    "renormalize_logits": False,
}
"""Setting -> the value that changes nothing, for what holds for greedy answers too."""
WARPERS: Mapping[str, Any] = {
    "temperature": 1.0,
    "top_h": None,
    "top_k": 0,
    "top_p": 1.0,
    "min_p": None,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
}
"""The same for what sampling alone heeds."""
NOT_FOLLOWED: Mapping[str, Any] = {
    "num_beams": 1,
    "num_beam_groups": 1,
    "penalty_alpha": 0.0,
    "dola_layers": None,
    "guidance_scale": 1.0,
    "constraints": None,
    "force_words_ids": None,
    "num_return_sequences": 1,
    "stop_strings": None,
    "max_time": None,
    "token_healing": False,
}
"""The same for what the native runtime does not do.

Settings that change speed alone, and lengths, which the workload decides, are no differences.
"""
ASKS_A_PART = frozenset({"blip-2", "kosmos-2"})
"""``model_type`` of models whose ``generate`` asks their language model, which transformers gives
the settings of its own part of ``config.json``: the file beside it is not heeded."""
_TEXT_PARTS = ("decoder", "generator", "text_config")


def own_settings(config: Mapping[str, Any], generation: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the settings that transformers' ``generate`` would take, those that change something.

    Args:
        config: the model's ``config.json``; old ones hold such settings too.
        generation: its ``generation_config.json``, if it has one.
    """
    found = generation
    if found is None or config.get("model_type") in ASKS_A_PART:
        parts = [config[part] for part in _TEXT_PARTS if isinstance(config.get(part), dict)]
        text: dict[str, Any] = parts[0] if parts else {}
        outer = {} if config.get("model_type") in ASKS_A_PART else config
        found = {**text, **{name: value for name, value in outer.items() if value is not None}}
    known = {**PROCESSORS, **WARPERS, **NOT_FOLLOWED, "do_sample": False}
    return {
        name: found[name]
        for name, neutral in known.items()
        if found.get(name) is not None and found[name] != neutral
    }
