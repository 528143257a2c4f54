"""What to change so that engines fit into a GPU."""

from __future__ import annotations

from dataclasses import replace

from mmtrt.plan.graph import Plan
from mmtrt.plan.rank_memory import Load, load_of, memory_of, with_tp

USABLE = 0.9
"""Share of a GPU that a fix fills at most (*chosen*: the estimate leaves out CUDA's own memory)."""
FP8_SM = 89
"""Compute capability from which GPUs have float8 (TensorRT-LLM 1.2, ``precision.md``)."""
TP_SIZES = (2, 4, 8)
"""Tensor parallel sizes that a fix proposes: the GPUs of one machine."""


def fix_of(plan: Plan, there: int) -> str:
    """Return the override that fits: smaller limits if they are the reason, ranks, small weights.

    Without any, how large a GPU must be.
    """
    load = load_of(plan)
    assert load is not None
    budget = int(USABLE * there)
    batch = _batch(plan, load, budget)
    if batch is not None:
        return f"max_batch_size={batch}"
    seq = _sequence(plan, load, budget)
    if seq is not None:
        return f"max_seq_len={seq}"
    shown = len(plan.choice.host.gpus) or TP_SIZES[-1]
    most = TP_SIZES[-1] if plan.recipe.settings.target.gpu_memory_gib is not None else shown
    wider = [found for tp in TP_SIZES if load.tp < tp <= most and (found := with_tp(load, tp))]
    for each in wider:
        if _fits(each, budget):
            return f"tp={each.tp}"
    for quant in _smaller(plan, load):
        for each in (load, *wider):
            if _fits(replace(each, quant=quant), budget):
                ranks = "" if each.tp == load.tp else f" tp={each.tp}"
                return f"quant={quant}{ranks}"
    needed = memory_of(load).size_bytes / USABLE
    return f"target.gpu_memory_gib={-(-int(needed) // (1 << 30))}: a GPU of that size"


def _fits(load: Load, budget: int) -> bool:
    return memory_of(load).size_bytes <= budget


def _batch(plan: Plan, load: Load, budget: int) -> int | None:
    """Return the largest ``max_batch_size`` that fits and still serves the request."""
    limits = plan.recipe.sizing.limits

    def share(name: str, amount: int, batch: int) -> int:
        stays = limits[name].source == "override"
        return amount if stays else -(-amount * batch // load.batch)

    for batch in range(load.batch - 1, load.requests - 1, -1):
        smaller = replace(
            load,
            batch=batch,
            rows=share("max_multimodal_len", load.rows, batch),
            patch_rows=share("vision.max_batch_size", load.patch_rows, batch),
            tokens=None if load.tokens is None else min(load.tokens, (load.seq or 0) * batch),
        )
        if _fits(smaller, budget):
            return batch
    return None


def _sequence(plan: Plan, load: Load, budget: int) -> int | None:
    """Return the largest ``max_seq_len`` that fits and still holds a prompt and its answer."""
    sizing = plan.recipe.sizing
    prompt = sizing.limits.value("max_input_len")
    if load.seq is None or prompt is None or sizing.architecture != "decoder":
        return None
    least = prompt + sizing.demand.max_new_tokens
    for seq in range(load.seq - load.seq % 64, least - 1, -64):
        if seq < load.seq and _fits(replace(load, seq=seq), budget):
            return seq
    return None


def _smaller(plan: Plan, load: Load) -> list[str]:
    """Return the formats that this checkpoint has, the largest first."""
    recipe, sizes = plan.recipe, load.llm_bytes
    sms = [gpu.sm for gpu in plan.choice.host.gpus]
    sm = recipe.settings.target.sm or min(sms, default=FP8_SM)
    smaller: list[str] = [
        name
        for name, options in recipe.file.quants.items()
        if options.is_for(recipe.variant_name, plan.choice.backend.name)
        and name in plan.choice.backend.formats
        and sizes[name] < sizes[load.quant]
        and (name != "fp8" or sm >= FP8_SM)
    ]
    return sorted(smaller, key=lambda name: -sizes[name])
