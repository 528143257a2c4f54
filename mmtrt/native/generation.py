"""Write answers token by token, from the logits of one step to the tokens of the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from time import perf_counter
from typing import Any

from mmtrt.native.component import SpecialTokens
from mmtrt.native.errors import NativeError
from mmtrt.native.sampling import Chooser, Sampling


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
    seen: Sequence[Sequence[int]],
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
        seen: ids of each prompt, as the model's tokenizer gives them.
        special: tokens that end an answer.
        max_new_tokens: most tokens of an answer.
        sampling: how tokens are chosen.
        keep_logits: keep the logits of every step in the result.
        prefill_ms: passed on.

    Raises:
        NativeError: RUN222, if logits are not finite; RUN223 for settings that cannot be followed.
    """
    chooser = Chooser(sampling, special, seen, max_new_tokens, logits.shape[-1])
    answers: list[list[int]] = [[] for _ in seen]
    ended = [False for _ in seen]
    kept: list[Any] = []
    decode_ms: list[float] = []
    for step in range(max_new_tokens):
        if keep_logits:
            kept.append(logits)
        is_last = step == max_new_tokens - 1
        if not chooser.takes_any_number:
            check_finite(logits.sum(axis=1), ended, step)
        tokens = chooser.pick(logits)
        chooser.add(tokens)
        for row, token in enumerate(tokens):
            if not ended[row]:
                answers[row].append(token)
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


def as_seen(
    prompts: Sequence[Sequence[int]], vocab_size: int, token: int | None
) -> list[list[int]]:
    """Return prompts with a token in the place of each row, as the processor gives them."""
    return [[id_ if id_ < vocab_size else token or 0 for id_ in ids] for ids in prompts]


def check_finite(sums: Any, ended: Sequence[bool], step: int) -> None:
    """Refuse logits that are no numbers: the likeliest of them would be token 0, again and again.

    Args:
        sums: of each request's logits ``[B]``; finite where all of them are.
        ended: requests whose answers are complete; theirs do not matter.
        step: that gave them, counted from 0.

    Raises:
        NativeError: RUN222.
    """
    wrong = [row for row, total in enumerate(sums) if not ended[row] and not isfinite(float(total))]
    if wrong:
        raise not_finite(
            f"the logits of token {step + 1} of "
            + ("the answer" if len(sums) == 1 else f"answer {wrong[0] + 1}")
        )


def not_finite(what: str) -> NativeError:
    """Return the error for numbers that overflowed somewhere in a model."""
    return NativeError(
        f"{what} are not finite",
        code="RUN222",
        why="a sum went beyond the range of its dtype, or the weights hold such values: what "
        "followed would be no answer",
        fix="dtype=bfloat16 or dtype=float32; with a quantization, quant=none",
    )


def ms_since(started: float) -> float:
    """Return the milliseconds since a ``perf_counter``."""
    return (perf_counter() - started) * 1e3
