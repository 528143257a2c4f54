"""What one call of a language model engine sees: the window of new tokens, and what is fed with it.

numpy only; arrays are typed ``Any`` because the core is checked without numpy's types.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True, kw_only=True)
class Window:
    """The new tokens of a batch. B: batch, S: new tokens, MAX: length of the KV cache."""

    ids: Any
    """int64 ``[B, S]``; the whole left-padded prompts, later one token each."""
    mask: Any
    """bool ``[B, MAX]``; false where the cache holds padding."""
    lengths: Any
    """int64 ``[B]``: tokens of each request before this window, without padding."""
    start: int
    """Place in the cache of the first new token; 0 for the prefill."""

    @property
    def is_prefill(self) -> bool:
        """Whether these are the prompts."""
        return self.start == 0

    @property
    def shown(self) -> Any:
        """Bool ``[B, S]``: false for padding."""
        return self.mask[:, self.start : self.start + self.ids.shape[1]]


Feed: TypeAlias = Callable[[Window], Mapping[str, Any]]
"""Gives the inputs of one call beside ids, start, mask, table and caches."""


def plain_positions(window: Window) -> Any:
    """Return int64 ``[B, S]``: the place of each token in its own, unpadded request.

    Padding has 0 instead of the -1 or 1 of transformers: nothing attends to it.
    """
    import numpy as np

    counted = np.cumsum(window.shown, axis=1) - 1
    return np.maximum(counted, 0) + window.lengths[:, None]


def plain_feed(window: Window) -> Mapping[str, Any]:
    """Feed positions alone."""
    return {"positions": plain_positions(window)}


def pad_left(prompts: Sequence[Sequence[int]], length: int) -> tuple[Any, Any]:
    """Return int64 ids ``[B, length]``, padded at the left, and bool: false for padding."""
    import numpy as np

    ids: Any = np.zeros((len(prompts), length), dtype=np.int64)
    shown: Any = np.zeros((len(prompts), length), dtype=np.bool_)
    for row, prompt in enumerate(prompts):
        ids[row, length - len(prompt) :] = prompt
        shown[row, length - len(prompt) :] = True
    return ids, shown
