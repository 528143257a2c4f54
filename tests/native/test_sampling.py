from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mmtrt.native.errors import NativeError
from mmtrt.native.sampling import Sampler, Sampling

LOGITS = np.log(np.array([0.05, 0.5, 0.3, 0.15], dtype=np.float32))


def chosen(sampling: Sampling, draws: int = 300, seen: tuple[int, ...] = ()) -> Counter[int]:
    sampler = Sampler(sampling, 0)
    return Counter(sampler.pick(LOGITS, seen) for _ in range(draws))


def test_default_is_greedy() -> None:
    assert set(chosen(Sampling())) == {1}


def test_top_k_and_top_p_limit_the_choice() -> None:
    assert set(chosen(Sampling(top_k=2))) == {1, 2}
    assert set(chosen(Sampling(top_k=0, top_p=0.45))) == {1}
    assert set(chosen(Sampling(top_k=0, top_p=0.6))) == {1, 2}
    assert set(chosen(Sampling(top_k=0))) == {0, 1, 2, 3}


def test_frequencies_follow_the_probabilities() -> None:
    counts = chosen(Sampling(top_k=0, seed=3), draws=4000)
    for token, share in enumerate((0.05, 0.5, 0.3, 0.15)):
        assert counts[token] / 4000 == pytest.approx(share, abs=0.03)


def test_low_temperature_approaches_greedy() -> None:
    assert set(chosen(Sampling(top_k=0, temperature=0.01))) == {1}


def test_requests_have_streams_of_their_own() -> None:
    def draw(request: int) -> list[int]:
        sampler = Sampler(Sampling(top_k=0), request)
        return [sampler.pick(LOGITS, ()) for _ in range(40)]

    assert draw(0) == draw(0)
    assert draw(0) != draw(1)


def test_repetition_penalty_equals_transformers() -> None:
    torch = pytest.importorskip("torch")
    process = pytest.importorskip("transformers").RepetitionPenaltyLogitsProcessor(3.0)
    logits = np.array([0.5, 2.0, 1.9, -1.0], dtype=np.float32)
    theirs = process(torch.tensor([[1, 1, 3]]), torch.tensor(logits)[None])[0]
    picked = Sampler(Sampling(repetition_penalty=3.0), 0).pick(logits, [1, 1, 3])
    assert picked == int(theirs.argmax()) == 2


@pytest.mark.parametrize("wrong", [{"top_k": -1}, {"temperature": 0.0}, {"seed": -1}])
def test_values_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(NativeError, match=next(iter(wrong))):
        Sampling(**wrong)
