"""The contract of every family: engines built from its tiny model answer as transformers does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from tests.native.families import CASES, NEW_TOKENS, Built

TOLERANCE = 1e-4


@pytest.fixture(scope="module", params=CASES)
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """Build a family once; pytest runs all of its tests before the next family's."""
    pytest.importorskip("transformers")
    yield Built(CASES[request.param], tmp_path_factory.mktemp(request.param))


def assert_equal(built: Built, texts: Sequence[str], pictures: Sequence[Sequence[str]]) -> None:
    """Compare tokens exactly and the logits of every step closely, while each request lasts."""
    answers = built.answer(texts, pictures)
    tokens, logits = built.expected(texts, pictures)
    eos = built.session.engines.llm.special_tokens.eos
    ours = np.stack(answers.generation.logits)
    worst = 0.0
    for row, answer in enumerate(answers.answers):
        count = len(answer.token_ids)
        assert answer.token_ids == tokens[row][:count]
        assert count == NEW_TOKENS or answer.token_ids[-1] in eos
        worst = max(worst, float(np.abs(ours[:count, row] - logits[:count, row]).max()))
    assert worst < TOLERANCE
    built.worst = max(getattr(built, "worst", 0.0), worst)


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_answers_equal_transformers(built: Built, batch: int) -> None:
    """Prompts and pictures of different sizes; padding must change nothing."""
    pictures = [[path] for path in built.pictures[:batch]]
    assert_equal(built, built.case.texts[:batch], pictures)


def test_two_pictures_in_one_request(built: Built) -> None:
    if not built.case.several:
        pytest.skip("this family takes one picture")
    assert_equal(built, built.case.texts[:2], [built.pictures[:2], built.pictures[1:]])


def test_texts_alone(built: Built) -> None:
    if not built.case.text_only:
        pytest.skip("this family needs a picture")
    assert_equal(built, built.case.texts[:2], [[], []])
