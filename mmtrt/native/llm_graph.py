"""The language model as one graph that serves both the prefill and every decode step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mmtrt.native.graph import TRACED_BATCH, TRACED_ROWS, TRACED_TOKENS, Extra, Graph
from mmtrt.native.kv_cache import StaticKvCache


class PromptTableLlm(nn.Module):
    """A causal language model whose ids can address rows of a table of visual features.

    Legend of shapes: B batch, S new tokens (the padded prompt, then 1), MAX ``max_seq_len``, V
    vocabulary, P rows of the table, H hidden size, K key/value heads, D head size. Prompts are
    padded at the left, so all rows of a batch share the place of their next token.

    A family that differs overrides ``embed_text`` or ``attend``, and names its own inputs.

    Source: the prompt table of TensorRT-LLM 1.2 (``prompt_embedding_table``): ids from V on are
    rows of the table.
    """

    extra_names: tuple[str, ...] = ()
    """Inputs beside the common ones."""

    def __init__(self, decoder: Any, lm_head: Any, *, vocab_size: int, max_seq_len: int) -> None:
        """Wrap decoder and head of a transformers model that uses eager attention."""
        super().__init__()
        freeze_rotations(decoder)
        self.decoder = decoder
        self.lm_head = lm_head
        self._vocab_size = vocab_size
        self._max_seq_len = max_seq_len

    def embed_text(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the embeddings ``[B, S, H]`` of ids below V."""
        return self.decoder.embed_tokens(ids)

    def attend(
        self,
        embeds: torch.Tensor,
        positions: torch.Tensor,
        seen: torch.Tensor,
        cache: StaticKvCache,
        extras: dict[str, torch.Tensor],
    ) -> torch.Tensor:
        """Return the hidden states ``[B, S, H]``; ``seen`` is bool ``[B, S, MAX]``."""
        # transformers hands a 4D mask to the layers untouched; eager attention adds it.
        return self.decoder(
            inputs_embeds=embeds,
            position_ids=positions,
            attention_mask=additive(seen),
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state

    def forward(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        start: torch.Tensor,
        kv_mask: torch.Tensor,
        table: torch.Tensor,
        keys: list[torch.Tensor],
        values: list[torch.Tensor],
        extras: list[torch.Tensor],
    ) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
        """Return the logits of the last token and the filled cache.

        Args:
            ids: int64 ``[B, S]``; ``V + row`` stands for a row of ``table``.
            positions: int64 ``[B, S]``; place of each token in its own, unpadded prompt.
            start: int64 ``[1]``; place in the cache of the first of the S tokens.
            kv_mask: bool ``[B, MAX]``; false where the cache holds padding.
            table: float32 ``[P, H]``; at least one row, also for prompts without images.
            keys: float32 ``[B, K, MAX, D]`` for each layer.
            values: the same shapes.
            extras: what the family needs beside these, in the order of ``extra_names``.

        Returns:
            float32 logits ``[B, V]``, keys and values.
        """
        vocab_size = self._vocab_size
        text = self.embed_text(ids.clamp(max=vocab_size - 1))
        visual = table[(ids - vocab_size).clamp(min=0)]
        embeds = torch.where((ids >= vocab_size)[..., None], visual, text)
        queries = start + torch.arange(ids.shape[1])
        seen = causal(queries, kv_mask, self._max_seq_len)
        cache = StaticKvCache(keys, values, queries)
        given = dict(zip(self.extra_names, extras))
        hidden = self.attend(embeds, positions, seen, cache, given)
        return self.lm_head(hidden[:, -1]), cache.keys, cache.values


def freeze_rotations(decoder: nn.Module) -> None:
    """Keep the rotations that a decoder was made with, whatever length it sees.

    Types ``dynamic`` and ``longrope`` else compare the length with the model's own at each call;
    build_llm refuses lengths at which they change.
    """
    for module in decoder.modules():
        kinds = getattr(module, "rope_type", None)
        if isinstance(kinds, str):
            module.rope_type = "default"
        elif isinstance(kinds, dict):
            module.rope_type = dict.fromkeys(kinds, "default")


def causal(queries: torch.Tensor, kv_mask: torch.Tensor, max_seq_len: int) -> torch.Tensor:
    """Return which places of the cache each query sees, bool ``[B, S, MAX]``.

    Args:
        queries: int64 ``[S]``; places of the new tokens in the cache.
        kv_mask: bool ``[B, MAX]``; false where the cache holds padding.
        max_seq_len: MAX.
    """
    places = torch.arange(max_seq_len)
    seen = (places <= queries[:, None])[None] & kv_mask[:, None, :]
    # A padding token must see itself: softmax over nothing is NaN, which would spread.
    itself = (places == queries[:, None])[None]
    return seen | itself


def additive(seen: torch.Tensor) -> torch.Tensor:
    """Return a mask ``[B, S, K]`` as float32 ``[B, 1, S, K]`` to be added to attention scores."""
    return torch.where(seen, 0.0, torch.finfo(torch.float32).min)[:, None]


@dataclass(frozen=True)
class CacheShape:
    """Size of the KV cache of a decoder: one key and one value tensor for each layer."""

    layers: int
    heads: int
    max_seq_len: int
    head_size: int

    @classmethod
    def of(cls, config: Any, max_seq_len: int) -> CacheShape:
        """Read the shape from a transformers text configuration."""
        heads = config.num_attention_heads
        return cls(
            layers=config.num_hidden_layers,
            heads=getattr(config, "num_key_value_heads", None) or heads,
            max_seq_len=max_seq_len,
            head_size=getattr(config, "head_dim", None) or config.hidden_size // heads,
        )

    def zeros(self, batch: int) -> list[torch.Tensor]:
        """Return empty keys (or values), float32 ``[batch, heads, MAX, D]`` for each layer."""
        shape = (batch, self.heads, self.max_seq_len, self.head_size)
        return [torch.zeros(shape) for _ in range(self.layers)]

    @property
    def names(self) -> list[str]:
        """Names of keys and values as inputs of a graph, in its order."""
        return [f"{kind}_{layer}" for kind in ("keys", "values") for layer in range(self.layers)]


def llm_graph(
    module: PromptTableLlm,
    cache: CacheShape,
    *,
    hidden_size: int,
    position_axes: Sequence[int] = (),
    extras: Mapping[str, Extra] | None = None,
) -> Graph:
    """Return the graph of a language model.

    Args:
        module: the model with its weights.
        cache: size of its KV cache.
        hidden_size: width of the prompt table.
        position_axes: sides of ``positions`` before ``[B, S]``, such as ``(3,)``.
        extras: an example for each of the module's ``extra_names``.
    """
    side = Sides()
    ids = torch.zeros((TRACED_BATCH, TRACED_TOKENS), dtype=torch.int64)
    first = len(position_axes)
    given, names = dict(extras or {}), module.extra_names
    args = (
        ids,
        ids.expand(*position_axes, -1, -1).contiguous(),
        torch.zeros(1, dtype=torch.int64),
        torch.ones((TRACED_BATCH, cache.max_seq_len), dtype=torch.bool),
        torch.zeros((TRACED_ROWS, hidden_size)),
        cache.zeros(TRACED_BATCH),
        cache.zeros(TRACED_BATCH),
        [given[name].example for name in names],
    )
    by_batch = side({0: "batch"})
    shapes = (
        side({0: "batch", 1: "tokens"}),
        side({first: "batch", first + 1: "tokens"}),
        None,
        by_batch,
        side({0: "rows"}),
        [by_batch] * cache.layers,
        [by_batch] * cache.layers,
        [side(given[name].sides) for name in names],
    )
    common = ["ids", "positions", "start", "kv_mask", "table"]
    return Graph(
        module=module,
        args=args,
        dynamic_shapes=shapes,
        input_names=[*common, *cache.names, *names],
        output_names=["logits", *(f"{name}_out" for name in cache.names)],
    )


class Sides:
    """Makes one ``torch.export.Dim`` for each name, however often it is asked for."""

    def __init__(self) -> None:
        self._dims: dict[str, Any] = {}

    def __call__(self, names: Mapping[int, str]) -> dict[int, Any]:
        """Return axis to dimension for axis to name."""
        for name in names.values():
            self._dims.setdefault(name, torch.export.Dim(name))
        return {axis: self._dims[name] for axis, name in names.items()}
