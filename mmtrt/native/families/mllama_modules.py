"""The torch modules of Llama 3.2 Vision: tiles to states, and layers that attend to them.

Source: transformers 5.23, models/mllama (modeling).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from mmtrt.native.kv_cache import StaticKvCache
from mmtrt.native.llm_graph import additive, causal, freeze_rotations


class TiledEncoder(nn.Module):
    """Tower and projector: tiles of a picture -> ``features [N, tiles * patches, D]``.

    N: pictures; every picture has the same number of tiles, some of which only pad.
    """

    def __init__(self, model: Any) -> None:
        """Take the parts of a transformers model."""
        super().__init__()
        self.vision_model = model.vision_model
        self.multi_modal_projector = model.multi_modal_projector

    def forward(
        self, pixels: torch.Tensor, aspect_ratios: torch.Tensor, tile_mask: torch.Tensor
    ) -> torch.Tensor:
        """Return the features of each picture.

        Args:
            pixels: float32 ``[N, tiles, 3, H, W]``.
            aspect_ratios: int64 ``[N, 1]``; number of the grid that the tiles make up.
            tile_mask: int64 ``[N, 1, tiles]``; 0 for tiles that only pad.
        """
        hidden = self.vision_model(pixels[:, None], aspect_ratios, tile_mask).last_hidden_state
        return self.multi_modal_projector(hidden).flatten(1, 3)


class _LayerCache(StaticKvCache):
    """Keeps the tokens of layers with self attention; the others compute theirs at every step."""

    layers: tuple[()] = ()

    def __init__(self, *parts: Any, places: Mapping[int, int]) -> None:
        """Take what ``StaticKvCache`` takes, and layer to its place in the cache."""
        super().__init__(*parts)
        self._places = places

    def update(
        self, key: torch.Tensor, value: torch.Tensor, layer: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Put keys and values in their place, where the layer has one."""
        if layer not in self._places:
            return key, value
        return super().update(key, value, self._places[layer])


class CrossAttendingLlm(nn.Module):
    """A causal language model with layers that attend to states; no prompt table.

    Legend as in ``PromptTableLlm``; E: states of one request.
    """

    def __init__(self, decoder: Any, lm_head: Any, own_layers: Sequence[int]) -> None:
        """Take decoder and head, and the layers with self attention."""
        super().__init__()
        freeze_rotations(decoder)
        self.decoder = decoder
        self.lm_head = lm_head
        self._places = {layer: place for place, layer in enumerate(own_layers)}

    def forward(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        start: torch.Tensor,
        kv_mask: torch.Tensor,
        states: torch.Tensor,
        states_mask: torch.Tensor,
        keys: list[torch.Tensor],
        values: list[torch.Tensor],
    ) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
        """Return the logits of the last token and the filled cache.

        Args:
            ids: int64 ``[B, S]``.
            positions: int64 ``[B, S]``.
            start: int64 ``[1]``.
            kv_mask: bool ``[B, MAX]``.
            states: float32 ``[B, E, H]``; zeros for a request without pictures.
            states_mask: bool ``[B, S, E]``; what each token attends to. A token without any attends
                to all of them alike, and its feed-forward is left out: so the model was made.
            keys: float32 ``[B, K, MAX, D]`` for each layer with self attention.
            values: the same shapes.
        """
        places = start + torch.arange(ids.shape[1])
        cache = _LayerCache(keys, values, places, places=self._places)
        sees = states_mask.any(dim=-1, keepdim=True)
        hidden = self.decoder(
            input_ids=ids,
            position_ids=positions,
            attention_mask=additive(causal(places, kv_mask, kv_mask.shape[1])),
            cross_attention_states=states,
            cross_attention_mask=additive(states_mask | ~sees),
            full_text_row_masked_out_mask=sees[:, None].float(),
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        return self.lm_head(hidden[:, -1]), cache.keys, cache.values
