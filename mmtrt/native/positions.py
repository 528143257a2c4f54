"""Rotary positions in several axes, for engines whose prompts are padded at the right.

What is shown stands in time, height and width; from the end of the prompt on every axis counts
tokens. So a batch is told by the positions of its prompts and, for each request and axis, by how
far later tokens are ahead of (or behind) their place in it.

numpy only; arrays are typed ``Any`` because the core is checked without numpy's types.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmtrt.native.steps import Feed, Window


@dataclass(frozen=True, kw_only=True)
class Positions:
    """Of a batch. A: axes, B: batch, S: tokens of the longest prompt."""

    prompts: Any
    """int64 ``[A, B, S]``; anything where a prompt is padded."""
    shifts: Any
    """int64 ``[B, A]``: position less place in the request, of every token after the prompt."""


def positions_of(feed: Feed, prompts: Sequence[Sequence[int]]) -> Positions | None:
    """Return what a family's feed says of prompts; ``None`` if it feeds other inputs as well.

    It is asked as for a batch padded at the right, twice: for the prompts and for the first token
    after them.
    """
    import numpy as np

    lengths: Any = np.array([len(prompt) for prompt in prompts], dtype=np.int64)
    batch, longest = len(prompts), int(lengths.max())
    ids: Any = np.zeros((batch, longest), dtype=np.int64)
    mask: Any = np.ones((batch, longest + 1), dtype=np.bool_)
    mask[:, :longest] = np.arange(longest) < lengths[:, None]
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)] = prompt
    none_yet = np.zeros_like(lengths)
    first = feed(Window(ids=ids, mask=mask, lengths=none_yet, start=0))
    if first.keys() != {"positions"} or first["positions"].ndim != ids.ndim + 1:
        return None
    later = feed(Window(ids=ids[:, :1], mask=mask, lengths=lengths, start=longest))["positions"]
    return Positions(prompts=first["positions"], shifts=later[:, :, 0].T - lengths[:, None])
