from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from mmtrt.native.component import SpecialTokens
from mmtrt.native.errors import NativeError
from mmtrt.native.sampling import Chooser, Sampling

pytest.importorskip("transformers")

CHANCES = (0.05, 0.5, 0.3, 0.15)
LOGITS = np.log(np.array([CHANCES], dtype=np.float32))
SPECIAL = SpecialTokens(bos=None, eos=(), pad=None)


def chosen(draws: int = 300, **given: Any) -> Counter[int]:
    chooser = Chooser(Sampling(**given), SPECIAL, [[1]], 1, len(CHANCES))
    return Counter(chooser.pick(LOGITS)[0] for _ in range(draws))


@pytest.mark.parametrize(
    ("given", "tokens"),
    [
        ({}, {1}),
        ({"top_k": 1}, {1}),
        ({"top_k": 2}, {1, 2}),
        ({"top_k": 0, "top_p": 0.45}, {1}),
        ({"top_k": 0, "top_p": 0.6}, {1, 2}),
        ({"top_k": 0, "top_p": 1}, {0, 1, 2, 3}),
        ({"top_k": 0, "top_p": 0}, {0, 1, 2, 3}),
        ({"top_k": 0}, {0, 1, 2, 3}),
        ({"top_k": 0, "temperature": 0.01}, {1}),
        ({"top_k": 0, "temperature": 0}, {1}),
    ],
)
def test_what_can_be_chosen(given: dict[str, Any], tokens: set[int]) -> None:
    assert set(chosen(**given)) == tokens


def test_frequencies_follow_the_probabilities() -> None:
    counts = chosen(4000, top_k=0, seed=3)
    for token, share in enumerate(CHANCES):
        assert counts[token] / 4000 == pytest.approx(share, abs=0.03)


def test_requests_have_streams_of_their_own() -> None:
    def draws(requests: int) -> list[list[int]]:
        chooser = Chooser(Sampling(top_k=0), SPECIAL, [[1]] * requests, 40, len(CHANCES))
        rows = [chooser.pick(np.repeat(LOGITS, requests, 0)) for _ in range(40)]
        return [list(row) for row in zip(*rows)]

    one, (first, second) = draws(1), draws(2)
    assert one == [first] and first != second


@pytest.mark.parametrize(
    "wrong", [{"top_k": -1}, {"temperature": -1.0}, {"seed": -1}, {"top_p": float("nan")}]
)
def test_values_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(NativeError, match=next(iter(wrong))):
        Sampling(**wrong)
