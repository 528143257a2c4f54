"""The language model as one graph that serves both the prefill and every decode step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mmtrt.native.kv_cache import StaticKvCache


class PromptTableLlm(nn.Module):
    """A causal language model whose ids can address rows of a table of visual features.

    Legend of shapes: B batch, S new tokens (the padded prompt, then 1), MAX ``max_seq_len``, V
    vocabulary, P rows of the table, H hidden size, K key/value heads, D head size. Prompts are
    padded at the left, so all rows of a batch share the place of their next token.

    Source: the prompt table of TensorRT-LLM 1.2 (``prompt_embedding_table``): ids from V on are
    rows of the table.
    """

    def __init__(self, model: Any, max_seq_len: int) -> None:
        """Wrap a causal language model of transformers that uses eager attention."""
        super().__init__()
        self.decoder = model.model
        self.lm_head = model.lm_head
        self._vocab_size: int = model.config.vocab_size
        self._max_seq_len = max_seq_len

    def forward(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        start: torch.Tensor,
        kv_mask: torch.Tensor,
        table: torch.Tensor,
        keys: list[torch.Tensor],
        values: list[torch.Tensor],
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

        Returns:
            float32 logits ``[B, V]``, keys and values.
        """
        vocab_size = self._vocab_size
        text = self.decoder.embed_tokens(ids.clamp(max=vocab_size - 1))
        visual = table[(ids - vocab_size).clamp(min=0)]
        embeds = torch.where((ids >= vocab_size)[..., None], visual, text)

        queries = start + torch.arange(ids.shape[1])
        places = torch.arange(self._max_seq_len)
        seen = (places <= queries[:, None])[None] & kv_mask[:, None, :]
        # A padding token must see itself: softmax over nothing is NaN, which would spread.
        itself = (places == queries[:, None])[None]
        # transformers hands a 4D mask to the layers untouched; eager attention adds it.
        mask = torch.where(seen | itself, 0.0, torch.finfo(embeds.dtype).min)
        cache = StaticKvCache(keys, values, queries)
        hidden = self.decoder(
            inputs_embeds=embeds,
            position_ids=positions,
            attention_mask=mask[:, None],
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        return self.lm_head(hidden[:, -1]), cache.keys, cache.values


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
