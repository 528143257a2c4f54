"""Encoder and decoder of models that read and write apart, as one graph each."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import EncoderDecoderCache

from mmtrt.native.graph import TRACED_BATCH, TRACED_ROWS, TRACED_TOKENS, Graph
from mmtrt.native.kv_cache import StaticKvCache
from mmtrt.native.llm_graph import CacheShape, Sides, additive, causal

_TRACED_STATES = 7


class _NoCache:
    """Keys and values of the encoder's states: computed at every step, never kept."""

    layers: tuple[()] = ()

    def update(
        self, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Hand keys and values back."""
        return key, value


class CrossCache(EncoderDecoderCache):
    """What a decoder of transformers asks of its two caches."""

    def __init__(self, own: StaticKvCache, start: torch.Tensor) -> None:
        """Take the cache of the decoder's own tokens and their number so far, int64 ``[1]``."""
        # Not the base class's __init__: it counts lengths, which would become constants.
        self.self_attention_cache = own
        self.cross_attention_cache = _NoCache()
        self.is_updated: dict[int, bool] = {}
        self._start = start

    def get_seq_length(self, *_: Any) -> torch.Tensor:
        """Return the tokens so far, from which decoders derive positions."""
        return self._start


class CrossDecoder(nn.Module):
    """A decoder that attends across to states; no prompt table.

    Legend as in ``PromptTableLlm``; E: states of one request, H: their width. A batch starts from
    one token each, so that there is no padding.
    """

    def __init__(self, decoder: Any, lm_head: Any, *, scale: float = 1.0) -> None:
        """Take decoder and head; ``scale`` multiplies what goes into the head."""
        super().__init__()
        self.decoder = decoder
        self.lm_head = lm_head
        self._scale = scale

    def forward(
        self,
        ids: torch.Tensor,
        start: torch.Tensor,
        states: torch.Tensor,
        states_mask: torch.Tensor,
        keys: list[torch.Tensor],
        values: list[torch.Tensor],
    ) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
        """Return the logits of the last token and the filled cache.

        Args:
            ids: int64 ``[B, S]``.
            start: int64 ``[1]``; place in the cache of the first of the S tokens.
            states: float32 ``[B, E, H]``.
            states_mask: bool ``[B, E]``; false where a request has fewer.
            keys: float32 ``[B, K, MAX, D]`` for each layer.
            values: the same shapes.
        """
        places = start + torch.arange(ids.shape[1])
        longest = keys[0].shape[2]
        everything = torch.ones((1, longest), dtype=torch.bool)
        own = StaticKvCache(keys, values, places)
        outputs = self.decoder(
            input_ids=ids,
            attention_mask=additive(causal(places, everything, longest)),
            encoder_hidden_states=states,
            encoder_attention_mask=additive(states_mask[:, None, :]),
            past_key_values=CrossCache(own, start),
            use_cache=True,
        )
        return self.logits(outputs), own.keys, own.values

    def logits(self, outputs: Any) -> torch.Tensor:
        """Return the logits ``[B, V]`` of the last token."""
        return self.lm_head(outputs.last_hidden_state[:, -1] * self._scale)


def decoder_graph(module: CrossDecoder, cache: CacheShape, *, hidden_size: int) -> Graph:
    """Return the graph of a decoder; ``hidden_size`` is the width of the states."""
    side = Sides()
    by_batch = side({0: "batch"})
    by_state = side({0: "batch", 1: "states"})
    layers = [by_batch] * cache.layers
    return Graph(
        module=module,
        args=(
            torch.zeros((TRACED_BATCH, TRACED_TOKENS), dtype=torch.int64),
            torch.zeros(1, dtype=torch.int64),
            torch.zeros((TRACED_BATCH, _TRACED_STATES, hidden_size)),
            torch.ones((TRACED_BATCH, _TRACED_STATES), dtype=torch.bool),
            cache.zeros(TRACED_BATCH),
            cache.zeros(TRACED_BATCH),
        ),
        dynamic_shapes=(
            side({0: "batch", 1: "tokens"}),
            None,
            by_state,
            by_state,
            layers,
            layers,
        ),
        input_names=["ids", "start", "states", "states_mask", *cache.names],
        output_names=["logits", *(f"{name}_out" for name in cache.names)],
    )


class PromptTableEncoder(nn.Module):
    """A text encoder whose ids can address rows of a table of visual features."""

    def __init__(self, encoder: Any, *, vocab_size: int) -> None:
        """Take the encoder of a transformers model."""
        super().__init__()
        self.encoder = encoder
        self._vocab_size = vocab_size

    def forward(
        self, ids: torch.Tensor, kv_mask: torch.Tensor, table: torch.Tensor
    ) -> torch.Tensor:
        """Return the states ``[B, S, H]``.

        Args:
            ids: int64 ``[B, S]``; ``V + row`` stands for a row of ``table``.
            kv_mask: bool ``[B, S]``; false for padding.
            table: float32 ``[P, H]``.
        """
        vocab_size = self._vocab_size
        text = self.encoder.embed_tokens(ids.clamp(max=vocab_size - 1))
        visual = table[(ids - vocab_size).clamp(min=0)]
        embeds = torch.where((ids >= vocab_size)[..., None], visual, text)
        mask = additive(kv_mask[:, None, :])
        return self.encoder(inputs_embeds=embeds, attention_mask=mask).last_hidden_state


def encoder_graph(module: PromptTableEncoder, *, hidden_size: int) -> Graph:
    """Return the graph of a text encoder."""
    side = Sides()
    by_token = side({0: "batch", 1: "tokens"})
    return Graph(
        module=module,
        args=(
            torch.zeros((TRACED_BATCH, TRACED_TOKENS), dtype=torch.int64),
            torch.ones((TRACED_BATCH, TRACED_TOKENS), dtype=torch.bool),
            torch.zeros((TRACED_ROWS, hidden_size)),
        ),
        dynamic_shapes=(by_token, by_token, side({0: "rows"})),
        input_names=["ids", "kv_mask", "table"],
        output_names=["states"],
    )
