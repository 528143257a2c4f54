"""One torch module with what an exporter must know of it: the seam between families and engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A module in float32 with its weights, example inputs, and names for what may change.

    ``args`` may hold lists and dictionaries of tensors; ``input_names`` is the flat list.
    """

    module: Any
    args: tuple[Any, ...]
    dynamic_shapes: tuple[Any, ...]
    """As ``torch.export.export`` takes them."""
    input_names: Sequence[str]
    output_names: Sequence[str]


@dataclass(frozen=True)
class Extra:
    """One more input of a language model's graph: an example and its sides that may change.

    ``sides`` maps an axis to ``batch``, ``tokens`` or a name of its own. Example sides must be 2 or
    more where they may change; ``batch`` and ``tokens`` must be those of the other examples.
    """

    example: Any
    sides: Mapping[int, str] = field(default_factory=dict)


TRACED_BATCH = 2
TRACED_TOKENS = 5
TRACED_ROWS = 3
"""Sides of the example inputs: the exporter takes 0 and 1 for constants, equal ones for one."""
