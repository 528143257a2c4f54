"""The vision encoder of the LLaVA families: some layers of a tower, and a projector."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class TowerEncoder(nn.Module):
    """Tower and projector: ``pixels [N, 3, H, W] -> features [N, rows, D]``.

    N: pictures or tiles; rows: patches of one; D: hidden size of the language model.
    """

    def __init__(self, model: Any) -> None:
        """Take the parts of a transformers model."""
        super().__init__()
        self.vision_tower = model.vision_tower
        self.projector = model.multi_modal_projector
        layers = model.config.vision_feature_layer
        self._layers = [layers] if isinstance(layers, int) else list(layers)
        self._skips_class_row = model.config.vision_feature_select_strategy == "default"

    def forward(self, pixels: torch.Tensor) -> Any:
        """Return the features of each picture."""
        hidden = self.vision_tower(pixels, output_hidden_states=True).hidden_states
        chosen = torch.cat([hidden[layer] for layer in self._layers], dim=-1)
        if self._skips_class_row:
            chosen = chosen[:, 1:]
        return self.projector(chosen)


class TileEncoder(TowerEncoder):
    """Also returns ``newline [D]``: it ends rows of features when tiles are put together again."""

    def __init__(self, model: Any) -> None:
        """Take the parts of a transformers model."""
        super().__init__(model)
        self.newline = model.image_newline

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the features of each tile, and the newline."""
        return super().forward(pixels), self.newline.clone()
