"""Memory of one rank while engines answer: weights, KV cache, prompt table, activations.

Computed from sizes. Where a number of the model is not known, that part is not counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mmtrt.backends.base import Choice
from mmtrt.backends.needs import Needs
from mmtrt.backends.trtllm import Trtllm
from mmtrt.config.recipe import Recipe
from mmtrt.config.schema import ModelFacts
from mmtrt.plan.graph import Graph, Node, Plan
from mmtrt.sizing import memory
from mmtrt.sizing.weights import Weights
from mmtrt.stages import Stage

SERVING = ("run", "eval", "serve")
"""Kinds of stages that have the engines in GPU memory."""


PATCH_ROW = "patch row"
"""Unit of a vision engine that has an attention mask among its inputs."""


@dataclass(frozen=True)
class Part:
    """One summand."""

    name: str
    size_bytes: int
    because: str
    """The product that gives it, in words."""

    def to_json(self) -> dict[str, int | str]:
        """Return it as plain data."""
        return {"name": self.name, "bytes": self.size_bytes, "because": self.because}


@dataclass(frozen=True)
class Memory:
    """Memory of one rank: at least the sum of these parts."""

    parts: tuple[Part, ...]
    not_counted: tuple[str, ...] = ()
    """Parts for which a number of the model is not known, and which."""

    @property
    def size_bytes(self) -> int:
        """The sum."""
        return sum(part.size_bytes for part in self.parts)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Load:
    """What decides the memory of one rank; a fix replaces one number and asks again."""

    weights: Weights
    llm_bytes: Mapping[str, int]
    """Value of ``quant`` -> the language model's weights of all ranks."""
    encoder_bytes: int
    facts: ModelFacts
    dtype: str
    kv_dtype: str
    quant: str
    tp: int
    pp: int
    requests: int
    """Requests at once of the stage itself."""
    batch: int
    """``max_batch_size``."""
    seq: int | None
    """Tokens of one request, with those that it attends to across in another cache."""
    tokens: int | None
    """``max_num_tokens`` of a TensorRT engine; ``None`` where there is none."""
    rows: int
    """Rows of the prompt table."""
    patch_rows: int
    """Rows of the vision engine's attention mask."""


def load_of(plan: Plan) -> Load | None:
    """Return what a rank of the plan's engines holds; ``None`` where the weights are not known."""
    serving = [node.stage for node in plan.active() if node.kind in SERVING]
    return _load(plan.recipe, plan.choice, serving)


def _load(recipe: Recipe, choice: Choice, serving: Sequence[Stage]) -> Load | None:
    is_trt = isinstance(choice.backend, Trtllm)
    needs = Needs(recipe, native=not is_trt)
    weights, dtype, settings = needs.weights, needs.dtype, recipe.settings
    if weights is None or dtype == "auto":
        return None
    limits, sizing = recipe.sizing.limits, recipe.sizing
    batch, seq = limits.value("max_batch_size") or 1, limits.value("max_seq_len")
    tokens = None
    if seq is not None and is_trt and recipe.workflow == "engine":
        tokens = min(limits.value("max_num_tokens") or memory.DEFAULT_MAX_TOKENS, seq * batch)
    if seq is not None and sizing.architecture == "encoder_decoder":
        seq += limits.value("max_encoder_input_len") or 0
    images = limits.value("vision.max_batch_size") or 0
    is_masked = sizing.image.unit == PATCH_ROW
    quants = ("none", *(name for name in recipe.file.quants if name in memory.QUANTIZED_BITS))
    return Load(
        weights=weights,
        llm_bytes={name: needs.llm_bytes(name) for name in {*quants, settings.quant.name}},
        encoder_bytes=needs.encoder_bytes(),
        facts=recipe.variant.facts,
        dtype=dtype,
        kv_dtype=recipe.quant.kv_cache_dtype or dtype,
        quant=settings.quant.name,
        tp=settings.tp,
        pp=settings.pp,
        requests=max((getattr(stage, "batch_size", 1) for stage in serving), default=1),
        batch=batch,
        seq=seq,
        tokens=tokens,
        rows=limits.value("max_multimodal_len") or 0,
        patch_rows=images * sizing.image.tiles_per_slot if is_masked else 0,
    )


def memory_of(load: Load) -> Memory:
    """Return the memory of one rank, at least."""
    parts, missing = [_weights(load)], []
    cache = cache_of(load, load.requests)
    if cache is None:
        missing.append(f"KV cache: {_lacking(load)}")
    else:
        parts.append(cache)
    hidden = load.facts.hidden_size
    if load.rows and hidden is not None:
        parts.append(
            Part(
                "prompt table",
                memory.prompt_table_bytes(load.rows, hidden, load.dtype),
                f"{load.rows} rows x hidden size {hidden} x {memory.ITEM_BYTES[load.dtype]} bytes",
            )
        )
    inner, vocab = load.facts.intermediate_size, load.facts.vocab_size
    if load.tokens is not None:
        if hidden is None or inner is None or vocab is None:
            missing.append("activations: width of the MLP is not known")
        else:
            each = memory.activation_bytes(
                load.tokens, hidden, inner, vocab, load.batch, load.dtype, tp=load.tp
            )
            share = f" / tp {load.tp}" if load.tp > 1 else ""
            because = (
                f"rough: {load.tokens} tokens x 2 x ({hidden} + {inner}{share})"
                f" + {load.batch} x {vocab} logits{share},"
                f" {memory.ITEM_BYTES[load.dtype]} bytes each"
            )
            parts.append(Part("activations", each, because))
    if load.patch_rows:
        parts.append(
            Part(
                "vision mask",
                memory.attention_mask_bytes(load.patch_rows),
                f"2 bytes x {load.patch_rows} patch rows squared",
            )
        )
    return Memory(tuple(parts), tuple(missing))


def cache_of(load: Load, requests: int) -> Part | None:
    """Return the KV cache of so many requests of full length; ``None`` if a number is missing."""
    facts = load.facts
    layers, heads, hidden = facts.num_hidden_layers, facts.num_attention_heads, facts.hidden_size
    kv_heads = facts.num_key_value_heads or heads
    if load.seq is None or layers is None or heads is None or hidden is None or kv_heads is None:
        return None
    head_dim = facts.head_dim or hidden // heads
    size = memory.kv_cache_bytes(
        layers,
        kv_heads,
        head_dim,
        load.kv_dtype,
        max_seq_len=load.seq,
        max_batch_size=requests,
        tp=load.tp,
        pp=load.pp,
    )
    because = (
        f"{requests} request{'s' * (requests > 1)} x {load.seq} tokens"
        f" x 2 x {-(-layers // load.pp)} layers x {max(1, -(-kv_heads // load.tp))} heads"
        f" x {head_dim} x {memory.ITEM_BYTES[load.kv_dtype]} bytes"
    )
    return Part("KV cache", size, because)


def gpu_memory(plan: Plan) -> Memory | None:
    """Return the GPU memory of one rank while engines answer, at least.

    ``None`` where no stage answers, where the engines run elsewhere, or where the weights are not
    known. The stand-ins of backend ``fake`` take none; the number is that of what they play.
    """
    serving = [node for node in plan.active() if node.kind in SERVING]
    return ranks_of(plan, serving)


def ranks_of(graph: Graph, serving: Sequence[Node]) -> Memory | None:
    """Return the GPU memory of one rank while the engines of one recipe answer, at least.

    Args:
        graph: a plan, or that of a sweep.
        serving: the nodes of the recipe that ask its engines.
    """
    if not serving:
        return None
    choice, recipe = graph.choice_of(serving[0]), graph.recipe_of(serving[0])
    if not isinstance(choice.backend, Trtllm):
        return None
    load = _load(recipe, choice, [node.stage for node in serving])
    return None if load is None else memory_of(load)


def _weights(load: Load) -> Part:
    """Return the weights of one rank; encoders are not shared out, the language model is."""
    ranks, weights = load.tp * load.pp, load.weights
    size = -(-load.llm_bytes[load.quant] // ranks) + load.encoder_bytes
    width = f"{memory.ITEM_BYTES[load.dtype]} bytes ({load.dtype})"
    small = "" if load.quant == "none" else f", {load.quant}"
    if weights.encoder is None or not weights.encoder:
        share = f" / {ranks} ranks" if ranks > 1 else ""
        because = f"{weights.parameters} parameters x {width}{small}{share}; {weights.because}"
    else:
        share = f" / {ranks} ranks" if ranks > 1 else ""
        because = (
            f"({weights.language}{share} + {weights.encoder} of the encoders) x {width}{small};"
            f" {weights.because}"
        )
    return Part("weights", size, because)


def _lacking(load: Load) -> str:
    return "max_seq_len is not stated" if load.seq is None else "layers or heads are not known"


def with_tp(load: Load, tp: int) -> Load | None:
    """Return the load with another tensor parallel size; ``None`` if the heads do not allow it."""
    heads = load.facts.num_attention_heads
    kv_heads = load.facts.num_key_value_heads or heads
    if heads is None or kv_heads is None or heads % tp:
        return None
    if kv_heads % tp if kv_heads >= tp else tp % kv_heads:
        return None
    return replace(load, tp=tp)
