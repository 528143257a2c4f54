from __future__ import annotations

import threading

import pytest

from mmtrt.artifacts.threads import in_threads
from tests.waiting import LIMIT_S


@pytest.mark.parametrize("workers", [1, 3, 50])
def test_results_keep_the_order(workers: int) -> None:
    assert in_threads(lambda x: x * x, range(20), workers) == [x * x for x in range(20)]


def test_nothing_to_do() -> None:
    assert in_threads(str, [], 4) == []


def test_items_run_at_once() -> None:
    together = threading.Barrier(3)
    in_threads(lambda _: together.wait(LIMIT_S), range(3), 3)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_failure_stops_the_rest(workers: int) -> None:
    begun = []

    def work(item: int) -> None:
        begun.append(item)
        raise ValueError(item)

    with pytest.raises(ValueError):
        in_threads(work, range(100), workers)
    assert len(begun) <= workers
