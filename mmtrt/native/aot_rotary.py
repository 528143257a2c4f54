"""Rotations of tokens whose positions have several axes, computed where they are needed.

Such positions follow what is shown: a long video passes any length that a table could have.

Legend of shapes: A axes, B batch, S tokens, D head size.

Source: transformers 5.23, ``Qwen2VLRotaryEmbedding``; the axes take turns over the sections of the
frequencies: Wang et al., Qwen2-VL (arXiv:2409.12191), section 2.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

_AXES = 3


def axial_rotary(rotary: Any, device: Any) -> AxialRotary | None:
    """Return the rotations of a module of transformers; ``None`` where positions have no axes."""
    sections = getattr(rotary, "mrope_section", None)
    if sections is None:
        return None
    return AxialRotary(rotary.inv_freq, sections, rotary.attention_scaling, device)


class AxialRotary(nn.Module):
    """Cosines and sines of positions, float32, both halves of a head alike."""

    axes = _AXES

    def __init__(
        self, frequencies: torch.Tensor, sections: Sequence[int], scale: float, device: Any
    ) -> None:
        """Take float32 ``[D / 2]`` frequencies, of which the axes have ``sections`` in turn."""
        super().__init__()
        self._scale = scale
        axis_of = [axis % _AXES for axis, count in enumerate(sections) for _ in range(count)]
        self.frequencies: torch.Tensor
        self.axis_of: torch.Tensor
        self.register_buffer("frequencies", frequencies.detach().float().to(device))
        self.register_buffer("axis_of", torch.tensor(axis_of, device=device))

    def forward(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ``[B, S, D]`` each for int64 positions ``[A, B, S]``."""
        angles = positions[self.axis_of].permute(1, 2, 0).float() * self.frequencies
        angles = torch.cat((angles, angles), -1)
        return angles.cos() * self._scale, angles.sin() * self._scale
