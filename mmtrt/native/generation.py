"""Write answers token by token, from the logits of one step to the tokens of the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from mmtrt.native.component import SpecialTokens
from mmtrt.native.sampling import Sampler, Sampling


@dataclass(frozen=True, kw_only=True)
class Generation:
    """What ``EngineSession.generate`` returns."""

    token_ids: list[list[int]]
    """New tokens of each request, up to and including the one that ended it."""
    finish_reasons: list[str]
    """``eos``, or ``length`` where ``max_new_tokens`` came first."""
    prefill_ms: float
    decode_ms: list[float]
    """Wall time of each decode step."""
    logits: list[Any]
    """float32 ``[B, V]`` for each step; empty unless asked for."""


def write(
    logits: Any,
    decode: Callable[[Sequence[int]], Any],
    *,
    seen: list[list[int]],
    special: SpecialTokens,
    max_new_tokens: int,
    sampling: Sampling,
    keep_logits: bool,
    prefill_ms: float,
) -> Generation:
    """Choose tokens until every request has ended.

    Args:
        logits: of the prefill, float32 ``[B, V]``.
        decode: takes one token for each request and returns the next logits.
        seen: ids of each prompt; the answers are added to them.
        special: tokens that end an answer.
        max_new_tokens: most tokens of an answer.
        sampling: how tokens are chosen.
        keep_logits: keep the logits of every step in the result.
        prefill_ms: passed on.
    """
    samplers = [Sampler(sampling, row) for row in range(len(seen))]
    answers: list[list[int]] = [[] for _ in seen]
    ended = [False for _ in seen]
    kept: list[Any] = []
    decode_ms: list[float] = []
    for step in range(max_new_tokens):
        if keep_logits:
            kept.append(logits)
        is_last = step == max_new_tokens - 1
        if is_last and special.forced_eos is not None:
            tokens = [special.forced_eos for _ in seen]
        else:
            tokens = [sampler.pick(*row) for sampler, *row in zip(samplers, logits, seen)]
        for row, token in enumerate(tokens):
            if not ended[row]:
                answers[row].append(token)
                seen[row].append(token)
                ended[row] = token in special.eos
        if all(ended) or is_last:
            break
        started = perf_counter()
        logits = decode(tokens)
        decode_ms.append(ms_since(started))
    return Generation(
        token_ids=answers,
        finish_reasons=["eos" if is_eos else "length" for is_eos in ended],
        prefill_ms=prefill_ms,
        decode_ms=decode_ms,
        logits=kept,
    )


def ms_since(started: float) -> float:
    """Return the milliseconds since a ``perf_counter``."""
    return (perf_counter() - started) * 1e3
