"""Time of a key, in this process: ``python -m pytest benchmarks``."""

from __future__ import annotations

from benchmarks.chain import long_world
from mmtrt.artifacts.keys import key_of
from mmtrt.artifacts.store import Store
from mmtrt.plan.assess import document_of


def test_key_of_a_stage(benchmark, tmp_path):
    plan = long_world(tmp_path, 1).plan()
    store = Store(tmp_path)

    def key() -> str:
        return key_of(document_of(plan.nodes[0], plan, store, {}))

    assert len(benchmark(key)) == 64
