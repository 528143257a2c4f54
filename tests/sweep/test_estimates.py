"""What a sweep will take: the sum of its nodes, not of its points."""

from __future__ import annotations

import json

import pytest

from mmtrt.artifacts.store import Store
from mmtrt.cli import dispatch
from mmtrt.plan.assess import assess, assess_graph
from mmtrt.plan.estimate import estimates
from mmtrt.plan.merge import Merger
from mmtrt.plan.rank_memory import gpu_memory
from tests.plan.test_estimate import plan_of


def sums(rows) -> dict[str, float]:
    found: dict[str, float] = {}
    for row in rows:
        for each in row:
            found[each.name] = found.get(each.name, 0) + each.value
    return found


def test_shared_nodes_count_once(tmp_path):
    one, two = plan_of("cogvlm"), plan_of("cogvlm", tp=2)
    merger = Merger()
    points = [merger.add(name, plan) for name, plan in (("0", one), ("1", two))]
    store = Store(tmp_path)
    merged = estimates(assess_graph(merger.merged(), store))
    alone = [estimates(assess(plan, store)) for plan in (one, two)]
    shared = {
        stage for stage, node in points[0].stages.items() if node in points[1].stages.values()
    }
    assert {"download", "build_vision"} <= shared and "build_llm" not in shared
    every = sums(row for rows in alone for row in rows.values())
    twice = sums(alone[0][stage] for stage in shared)
    assert sums(merged.values())["disk"] == every["disk"] - twice["disk"]
    # A node takes what its stage takes in a plan of its own, memory of a rank with it.
    for point, rows in zip(points, alone):
        for stage, node in point.stages.items():
            assert merged[node] == rows[stage]
    ranks = [each.value for each in merged[points[1].stages["run"]] if each.name == "gpu_memory"]
    assert ranks == [gpu_memory(two).size_bytes]


@pytest.mark.parametrize("form", ["text", "json"])
def test_plan_of_a_sweep_tells_them(tmp_path, monkeypatch, capsys, form):
    monkeypatch.chdir(tmp_path)
    words = ["-m", "recipe=cogvlm", "backend=trtllm", "tp=1,2", "target.sm=90"]
    assert dispatch(["plan", *words, *(["--json"] if form == "json" else [])]) == 0
    out = capsys.readouterr().out
    if form == "json":
        stages = json.loads(out)["stages"]
        runs = [row["estimates"] for row in stages if row["kind"] == "run"]
        assert [row["gpu_memory"]["unit"] for row in runs] == ["bytes"] * 2
        return
    # A host without a GPU plans for one that has.
    assert "GPU memory of a rank: at least 35.3 GiB (computed) for tp=1" in out
    assert "will take about: " in out and "of disk (computed)" in out
