"""What a plan will take: GPU memory of its engines, host memory, disk and time of its stages.

An estimate is *computed* from sizes, or *measured*: read from the manifest of the nearest earlier
run of the same kind and model. Where a number of the model is not known there is none.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from mmtrt.artifacts.store import Artifact, Store
from mmtrt.backends.needs import Needs
from mmtrt.backends.trtllm import Trtllm
from mmtrt.config.schema import ModelFacts
from mmtrt.errors import MmtrtError
from mmtrt.plan.assess import UNKNOWN, Assessment, NodeState, assess
from mmtrt.plan.graph import Plan
from mmtrt.sizing import memory
from mmtrt.sizing.weights import Weights
from mmtrt.stages import Assemble, Download

Name = Literal["gpu_memory", "ram", "disk", "seconds"]
Kind = Literal["computed", "measured"]

SERVING = ("run", "eval", "serve")
"""Kinds of stages that have the engines in GPU memory."""

NEAREST_OF = 8
"""Earlier runs among which the nearest is looked for, the newest ones (*chosen*)."""

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


@dataclass(frozen=True)
class Estimate:
    """One number that a stage will take."""

    name: Name
    value: float
    """Bytes, or seconds."""
    kind: Kind
    because: str
    """The sum, or which earlier run it is of."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data, without its name."""
        unit = "seconds" if self.name == "seconds" else "bytes"
        return {"value": self.value, "unit": unit, "kind": self.kind, "because": self.because}


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
    recipe, is_trt = plan.recipe, isinstance(plan.choice.backend, Trtllm)
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
    stages = [node.stage for node in plan.active() if node.kind in SERVING]
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
        requests=max((getattr(stage, "batch_size", 1) for stage in stages), default=1),
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
    serves = any(node.kind in SERVING for node in plan.active())
    if not serves or not isinstance(plan.choice.backend, Trtllm):
        return None
    load = load_of(plan)
    return None if load is None else memory_of(load)


def estimates(assessment: Assessment) -> dict[str, tuple[Estimate, ...]]:
    """Return what each stage will take, by its id; a stage that is in the store takes nothing."""
    states = assessment.states.values()
    ranks = gpu_memory(assessment.plan)
    found: dict[str, tuple[Estimate, ...]] = {}
    for state in states:
        row: list[Estimate] = []
        if state.status in ("run", "maybe"):
            if ranks is not None and state.node.kind in SERVING:
                row.append(Estimate("gpu_memory", ranks.size_bytes, "computed", _sum(ranks)))
            row += _taken(state, assessment.store)
        found[state.node.id] = tuple(row)
    return found


def total(rows: Mapping[str, tuple[Estimate, ...]], name: Name) -> list[Estimate]:
    """Return every estimate of one name, the largest first."""
    every = (each for row in rows.values() for each in row if each.name == name)
    return sorted(every, key=lambda each: -each.value)


def _taken(state: NodeState, store: Store) -> list[Estimate]:
    """Return memory, disk and time of a stage that is not in the store."""
    command = state.node.command
    assert command is not None
    row: dict[str, Estimate] = {}
    needs = (("ram", command.resources.ram_bytes), ("disk", command.resources.disk_bytes))
    for name, value in needs:
        if value:
            because = "from the sizes of the weights"
            row[name] = Estimate("ram" if name == "ram" else "disk", value, "computed", because)
    earlier = _nearest(state, store)
    if earlier is not None:
        artifact, differs = earlier
        manifest = artifact.manifest
        because = f"the run of {manifest.created[:10]}"
        because += f", which differs in {', '.join(differs)}" if differs else ""
        row["seconds"] = Estimate("seconds", manifest.seconds, "measured", because)
        # Another number format, or inputs that may be others, and the sizes are not this stage's.
        is_same = not differs and UNKNOWN not in (state.document or {}).get("inputs", {}).values()
        if (is_same or "ram" not in row) and manifest.peak_rss_bytes:
            row["ram"] = Estimate("ram", manifest.peak_rss_bytes, "measured", because)
        if (is_same or "disk" not in row) and not _links(state):
            size = sum(entry.size for entry in manifest.files)
            row["disk"] = Estimate("disk", size, "measured", because)
    return list(row.values())


def _links(state: NodeState) -> bool:
    """Return whether a stage writes links to what is on the disk already."""
    stage = state.node.stage
    return isinstance(stage, Assemble) or (isinstance(stage, Download) and stage.repo_id is None)


def _nearest(state: NodeState, store: Store) -> tuple[Artifact, tuple[str, ...]] | None:
    """Return the earlier output of this kind and model that differs least, and in what.

    Ties go to the newest. What is still to be built differs in nothing yet.
    """
    from mmtrt.plan.stale import differences

    node, document = state.node, state.document
    if document is None:
        return None
    best: tuple[Artifact, tuple[str, ...]] | None = None
    newest = store.newest(node.kind, node.stage.model_name)
    for artifact in itertools.islice(newest, NEAREST_OF):
        other = artifact.manifest.key_document
        if other.get("toolchain", {}).get("backend") != document["toolchain"]["backend"]:
            continue
        differs = tuple(
            path.removeprefix("params.")
            for part in ("params", "inputs")
            for path, _, new in differences(other.get(part) or {}, document[part], part)
            if new != UNKNOWN
        )
        if best is None or len(differs) < len(best[1]):
            best = artifact, differs
    return best


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


def _sum(ranks: Memory) -> str:
    parts = " + ".join(f"{part.name} {memory.gibibytes(part.size_bytes)}" for part in ranks.parts)
    return "at least " + parts + "".join(f"; not counted: {each}" for each in ranks.not_counted)


def with_tp(load: Load, tp: int) -> Load | None:
    """Return the load with another tensor parallel size; ``None`` if the heads do not allow it."""
    heads = load.facts.num_attention_heads
    kv_heads = load.facts.num_key_value_heads or heads
    if heads is None or kv_heads is None or heads % tp:
        return None
    if kv_heads % tp if kv_heads >= tp else tp % kv_heads:
        return None
    return replace(load, tp=tp)


def stored(plan: Plan) -> frozenset[str]:
    """Return the ids of the nodes whose output is in the store; for those who have no assessment.

    None of them where the store cannot tell.
    """
    store = Store(Path(plan.recipe.settings.paths.store))
    try:
        states = assess(plan, store).states.values()
    except MmtrtError:
        return frozenset()
    return frozenset(state.node.id for state in states if state.status == "hit")
