"""A stage that measures time on the processor has it to itself; others do not wait for it."""

from __future__ import annotations

from mmtrt.backends.base import Resources
from mmtrt.executor.tokens import Tokens
from tests.worlds import HOST


def test_nothing_runs_beside_a_measurement(tmp_path):
    tokens = Tokens(HOST, tmp_path)
    other = tokens.take(Resources())
    assert tokens.take(Resources(), is_alone=True) is None
    third = tokens.take(Resources())
    assert other is not None
    assert third is not None
    tokens.give_back(other)
    tokens.give_back(third)
    alone = tokens.take(Resources(), is_alone=True)
    assert alone is not None
    assert tokens.is_full
    assert tokens.take(Resources()) is None
    tokens.give_back(alone)
    assert not tokens.is_full
