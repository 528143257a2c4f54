"""The static KV cache as tensors that go into the graph and come out of it."""

from __future__ import annotations

from typing import Any

import torch


class StaticKvCache:
    """What a transformers decoder asks of its cache, over tensors that the caller owns.

    ``keys[layer]`` and ``values[layer]`` are ``[B, heads, MAX, D]`` (B: batch, MAX: max_seq_len, D:
    head size). ``update`` replaces them by new tensors instead of writing in place, which is what a
    graph of pure operators can express. Not a subclass of ``Cache``: its bookkeeping of lengths
    would end up in the graph as constants.

    Source: interface of transformers 5.23, cache_utils.Cache, as used by the decoder layers.
    """

    is_compileable = True
    is_sliding = (False,)

    def __init__(
        self, keys: list[torch.Tensor], values: list[torch.Tensor], positions: torch.Tensor
    ) -> None:
        """Take the cache tensors and the positions ``[S]`` that the next ``update`` fills."""
        self.keys = list(keys)
        self.values = list(values)
        self.positions = positions
        """Places ``[S]`` of the new tokens."""

    def update(
        self, key: torch.Tensor, value: torch.Tensor, layer: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Put ``[B, heads, S, D]`` in its place and return the whole keys and values."""
        self.keys[layer] = self.keys[layer].index_copy(2, self.positions, key)
        self.values[layer] = self.values[layer].index_copy(2, self.positions, value)
        return self.keys[layer], self.values[layer]

    def get_seq_length(self, *_: Any) -> int:
        """Return 0: positions are given to the model, it must not derive them from here."""
        return 0

    def get_mask_sizes(self, *_: Any) -> tuple[int, int]:
        """Return the length and the offset of the keys that a mask must cover."""
        return self.keys[0].shape[2], 0
