"""Choose the next token from logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmtrt.native.errors import NativeError


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are chosen; the default is greedy."""

    top_k: int = 1
    """Sample among this many tokens; 1 is greedy, 0 does not limit."""
    top_p: float = 0.0
    """Sample among the fewest tokens with this much probability; 0 and 1 do not limit.

    Source: TensorRT-LLM 1.2 run.py, whose default 0.0 means off.
    """
    temperature: float = 1.0
    repetition_penalty: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        wrong = (
            ("top_k", self.top_k, self.top_k >= 0, "0 or more"),
            ("top_p", self.top_p, 0 <= self.top_p <= 1, "between 0 and 1"),
            ("temperature", self.temperature, self.temperature > 0, "above 0"),
            ("repetition_penalty", self.repetition_penalty, self.repetition_penalty > 0, "above 0"),
            ("seed", self.seed, self.seed >= 0, "0 or more"),
        )
        for name, value, is_right, wanted in wrong:
            if not is_right:
                raise NativeError(f"{name} is {value}, it must be {wanted}", code="RUN215")


class Sampler:
    """Chooses the tokens of one request; its random stream is its own, not the batch's."""

    def __init__(self, sampling: Sampling, request: int) -> None:
        """Start the random stream of the request at this place of the batch."""
        import numpy as np

        self._sampling = sampling
        self._random = np.random.default_rng([sampling.seed, request])

    def pick(self, logits: Any, seen: Sequence[int]) -> int:
        """Return the next token.

        Args:
            logits: float32 ``[V]``.
            seen: ids of the prompt and the answer so far; they meet ``repetition_penalty``.

        Source: order and formulas of transformers 5.23, generation/logits_process.py.
        """
        import numpy as np

        sampling = self._sampling
        scores = np.array(logits, dtype=np.float32)
        if sampling.repetition_penalty != 1.0:
            ids = np.unique(np.asarray(seen, dtype=np.int64))
            old = scores[ids]
            penalty = np.float32(sampling.repetition_penalty)
            scores[ids] = np.where(old < 0, old * penalty, old / penalty)
        if sampling.top_k == 1:
            return int(scores.argmax())
        scores = scores / np.float32(sampling.temperature)
        # Stable, so that equal logits are ordered alike everywhere.
        order = np.argsort(-scores, kind="stable")
        if sampling.top_k:
            order = order[: sampling.top_k]
        weights = np.exp(scores[order].astype(np.float64) - float(scores[order[0]]))
        chances = weights / weights.sum()
        if 0 < sampling.top_p < 1:
            # The token that crosses the threshold still belongs to the set.
            kept = int(np.searchsorted(np.cumsum(chances), sampling.top_p)) + 1
            order, chances = order[:kept], chances[:kept] / chances[:kept].sum()
        return int(self._random.choice(order, p=chances))
