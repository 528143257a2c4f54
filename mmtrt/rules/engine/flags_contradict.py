"""Flag flags of one ``trtllm-build`` or ``quantize.py`` that contradict each other.

## What it checks
Pairs of flags that the tool refuses together, and flags that it switches off again because of
another one or of the checkpoint's number format; numbers that do not fit a limit or the model.

## Why it matters
The tool stops before it builds, after download and conversion; or it builds something else than
what was asked for, with a line in its log at most.

## Example
    mmtrt check recipe=cogvlm +recipe.stages.build_llm.flags.kv_cache_type=continuous

## Use instead
    mmtrt check recipe=cogvlm +recipe.stages.build_llm.flags.kv_cache_type=paged

## Source
TensorRT-LLM 1.2 ``commands/build.py``, ``builder.py`` and ``plugin/plugin.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mmtrt.plan.graph import Node, Plan
from mmtrt.rules.base import Finding, Severity
from mmtrt.rules.local_model import json_object
from mmtrt.rules.tool_flags import flag_at, flag_fix, is_off, is_on, llm_builds
from mmtrt.stages import BuildLlm, Quantize

Flags = Mapping[str, Any]

MAX_NUM_TOKENS = 8192
"""``--max_num_tokens`` where it is not given (``trtllm-build`` 1.2)."""


class Clash(NamedTuple):
    """Two things that do not go together, and the change that mends it."""

    severity: Severity
    message: str
    why: str
    flag: str
    better: str = "null"


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error for what is refused, a warning for what is changed without being asked."""
    for node, stage in llm_builds(plan):
        weights, cache = _formats(plan, node)
        yield from _told(plan, node, _tokens(stage))
        for find in PAIRS:
            yield from _told(plan, node, find(stage.flags))
        yield from _told(plan, node, _attention(stage.flags, weights, cache))
    for node in plan.active():
        if isinstance(node.stage, Quantize) and not plan.is_native:
            width = plan.recipe.variant.facts.hidden_size
            yield from _told(plan, node, _blocks(node.stage, width))


def _told(plan: Plan, node: Node, clashes: Iterable[Clash]) -> Iterator[Finding]:
    for clash in clashes:
        yield Finding(
            code="ENG204",
            severity=clash.severity,
            message=f"stage {node.id}: {clash.message}",
            at=flag_at(plan.recipe, node.id, clash.flag),
            why=clash.why,
            fix=flag_fix(plan.recipe, node.id, clash.flag, clash.better),
        )


def _tokens(stage: BuildLlm) -> Iterator[Clash]:
    best, most = stage.flags.get("opt_num_tokens"), stage.max_num_tokens or MAX_NUM_TOKENS
    if isinstance(best, int) and best > most:
        message = f"--opt_num_tokens {best} with --max_num_tokens {most}"
        why = "the tool would lower it to that, and tune for other sizes than were asked for"
        yield Clash("error", message, why, "opt_num_tokens", str(most))


def _blocks(stage: Quantize, width: int | None) -> Iterator[Clash]:
    block = stage.flags.get("awq_block_size")
    if "awq" in stage.format and isinstance(block, int) and width and block > 0 and width % block:
        message = f"--awq_block_size {block} for weights of {width} columns"
        yield Clash("error", message, "they are no whole blocks", "awq_block_size", "128")


def _formats(plan: Plan, node: Node) -> tuple[str, str | None]:
    """Return the number formats of a checkpoint's weights and of its KV cache."""
    maker = node.feeds.get("checkpoint")
    stage = plan[maker].stage if maker is not None else None
    if isinstance(stage, Quantize):
        return stage.format, stage.kv_cache_dtype
    return plan.recipe.settings.quant.name, None


def _kv_cache(flags: Flags) -> Iterator[Clash]:
    kind, paged = flags.get("kv_cache_type"), flags.get("paged_kv_cache")
    if kind is None or paged is None:
        return
    meant = "paged" if is_on(paged) else "continuous"
    if kind != meant:
        message = f"--kv_cache_type {kind} and --paged_kv_cache {paged}"
        yield Clash("error", message, f"the older flag means {meant}", "paged_kv_cache")


def _attention(flags: Flags, weights: str, cache: str | None) -> Iterator[Clash]:
    """Yield attention kernels that the tool will switch off."""
    paged, fp8 = (f"use_{kind}_context_fmha" for kind in ("paged", "fp8"))
    plain = is_off(flags.get("context_fmha"))
    for name in (paged, fp8):
        if plain and is_on(flags.get(name)):
            why = "the tool switches it off: it is a kind of context FMHA"
            yield Clash("warning", f"--{name} without --context_fmha", why, name)
    if plain:
        return
    if is_on(flags.get(fp8)) and weights != "fp8":
        why = "the tool switches it off where weights are not in float8"
        yield Clash("warning", f"--{fp8} with quant={weights}", why, fp8)
    elif is_on(flags.get(fp8)) and not is_off(flags.get(paged)) and cache != "fp8":
        why = f"the tool switches it off: with --{paged} it needs a KV cache in float8"
        yield Clash("warning", f"--{fp8} with a KV cache in 16 bits", why, fp8)
    if is_on(flags.get(paged)) and cache == "int8":
        why = "the tool switches it off, and chunked context with it"
        yield Clash("warning", f"--{paged} with a KV cache in int8", why, paged)


def _lora(flags: Flags) -> Iterator[Clash]:
    places = flags.get("lora_dir")
    if places is None:
        return
    if str(flags.get("lora_plugin", "disable")) == "disable":
        why = "the adapter is left out of the engine"
        yield Clash("warning", "--lora_dir without --lora_plugin", why, "lora_plugin", "auto")
    limit = flags.get("max_lora_rank", 64)
    ranks = [_rank(place) for place in (places if isinstance(places, list) else [places])]
    if isinstance(limit, int) and max(ranks, default=0) > limit:
        message = f"--max_lora_rank {limit}, the adapter's rank is {max(ranks)}"
        why = "its weights do not fit into the engine"
        yield Clash("error", message, why, "max_lora_rank", str(max(ranks)))


def _rank(place: object) -> int:
    """Return the rank of an adapter in a local directory; 0 where it cannot be known."""
    rank = (json_object(Path(str(place), "adapter_config.json")) or {}).get("r")
    return rank if isinstance(rank, int) else 0


def _fused_mlp(flags: Flags) -> Iterator[Clash]:
    for name in ("gemm_swiglu_plugin", "low_latency_gemm_swiglu_plugin"):
        if flags.get(name) == "fp8" and is_off(flags.get("use_fused_mlp")):
            message = f"--{name} fp8 with --use_fused_mlp {flags['use_fused_mlp']}"
            why = "that plugin is the fused MLP"
            yield Clash("error", message, why, "use_fused_mlp", "enable")


def _profiles(flags: Flags) -> Iterator[Clash]:
    if is_on(flags.get("multiple_profiles")) and flags.get("opt_num_tokens") is not None:
        why = "several profiles choose their own sizes"
        message = "--multiple_profiles with --opt_num_tokens"
        yield Clash("error", message, why, "opt_num_tokens")


def _logits(flags: Flags) -> Iterator[Clash]:
    draft = flags.get("max_draft_len", 0)
    for name in ("gather_context_logits", "gather_all_token_logits"):
        if is_on(flags.get(name)) and isinstance(draft, int) and draft > 0:
            why = "logits of the prompt are not kept where tokens are drafted"
            yield Clash("error", f"--{name} with --max_draft_len {draft}", why, name)


def _own_class(flags: Flags) -> Iterator[Clash]:
    if flags.get("model_cls_file") is not None and flags.get("model_cls_name") is None:
        why = "the tool cannot tell which class of the file is the model"
        yield Clash("error", "--model_cls_file without --model_cls_name", why, "model_cls_file")


def _reduce_scatter(flags: Flags) -> Iterator[Clash]:
    if is_on(flags.get("pp_reduce_scatter")):
        why = "only Mixtral has it, which no vision encoder is built with"
        yield Clash("error", "--pp_reduce_scatter", why, "pp_reduce_scatter")


PAIRS: tuple[Callable[[Flags], Iterator[Clash]], ...] = (
    _kv_cache,
    _lora,
    _fused_mlp,
    _profiles,
    _logits,
    _own_class,
    _reduce_scatter,
)
"""Checks that need to see the flags only."""
