"""Graphs of vision encoders that take square tiles of one size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from mmtrt.native.graph import TRACED_BATCH, Graph

_CHANNELS = 3


def pixel_graph(
    module: Any, height: int, width: int, *, outputs: Sequence[str] = ("features",)
) -> Graph:
    """Return the graph of ``pixels [N, 3, height, width] -> features [N, rows, D]``.

    Args:
        module: the encoder with its weights.
        height: pixels.
        width: pixels.
        outputs: names of what the module returns.
    """
    return Graph(
        module=module,
        args=(torch.zeros(TRACED_BATCH, _CHANNELS, height, width),),
        dynamic_shapes=({0: torch.export.Dim("images")},),
        input_names=["pixels"],
        output_names=list(outputs),
    )
