"""Plans of many points as one graph, run by the real loop in a real store."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmtrt.artifacts.store import Store
from mmtrt.config.recipe import resolve
from mmtrt.errors import PlanError
from mmtrt.executor.loop import execute
from mmtrt.plan.assess import assess, assess_graph
from mmtrt.plan.build import make_plan
from mmtrt.plan.merge import Merger
from mmtrt.rules.sweep import CheckedSweep
from tests.worlds import HOST, recipe, settings, world


def merged(*plans):
    merger = Merger()
    points = [merger.add(str(number), plan) for number, plan in enumerate(plans)]
    return merger.merged(), points


def run(graph, store: Path):
    return execute(CheckedSweep(graph, ()), Store(store))


def statuses(result):
    return {stage.id: stage.status for stage in result.stages}


def text_of(result, node: str) -> str:
    return (result.artifacts[node].path / "out").read_text()


def test_what_points_share_is_one_node_and_runs_once(tmp_path):
    count = f"echo x >> {tmp_path}/count; echo a > $1/out"
    one = world(tmp_path, ("a", count), ("b", "cat $2/out > $1/out; echo 1 >> $1/out", ["a"]))
    two = world(tmp_path, ("a", count), ("b", "cat $2/out > $1/out; echo 2 >> $1/out", ["a"]))
    graph, points = merged(one.plan(), two.plan(), one.plan())
    assert [node.id for node in graph.nodes] == ["a", "b", "b.2"]
    assert [dict(point.stages) for point in points] == [
        {"a": "a", "b": "b"},
        {"a": "a", "b": "b.2"},
        {"a": "a", "b": "b"},
    ]
    result = run(graph, tmp_path / "store")
    assert statuses(result) == {"a": "done", "b": "done", "b.2": "done"}
    assert (tmp_path / "count").read_text() == "x\n"
    assert text_of(result, "b") == "a\n1\n"
    assert text_of(result, "b.2") == "a\n2\n"
    # A plain run of one point finds what the sweep made, under the same keys.
    verdicts = assess(two.plan(), Store(tmp_path / "store"))
    assert [state.status for state in verdicts.states.values()] == ["hit", "hit"]
    assert verdicts["b"].artifact.manifest.stage == "b"


def test_what_only_turns_out_equal_is_built_once(tmp_path):
    """The two producers differ, their outputs do not: the store's keys know, the plan cannot."""
    reader = f"echo x >> {tmp_path}/count; sleep 0.2; cat $2/out > $1/out"
    one = world(tmp_path, ("a", "echo same > $1/out; : 1"), ("b", reader, ["a"]))
    two = world(tmp_path, ("a", "echo same > $1/out; : 2"), ("b", reader, ["a"]))
    graph, _ = merged(one.plan(), two.plan())
    assert len(graph.nodes) == 4
    found = statuses(run(graph, tmp_path / "store"))
    assert sorted([found["b"], found["b.2"]]) == ["done", "hit"]
    assert (tmp_path / "count").read_text() == "x\n"


@pytest.mark.parametrize("keep_going", [False, True])
def test_a_failing_point_stops_the_others_unless_told_to_go_on(tmp_path, keep_going):
    options = {"keep_going": keep_going, "jobs": 1}
    bad = world(tmp_path, ("a", "exit 3"), ("b", "cp $2/out $1/out", ["a"]), **options)
    good = world(tmp_path, ("a", "echo 1 > $1/out"), ("b", "cp $2/out $1/out", ["a"]), **options)
    graph, _ = merged(bad.plan(), good.plan())
    found = statuses(run(graph, tmp_path / "store"))
    others = "done" if keep_going else "skipped"
    assert found == {"a": "failed", "b": "skipped", "a.2": others, "b.2": others}


def test_points_finish_one_after_the_other(tmp_path):
    plans = [
        world(
            tmp_path,
            ("a", "echo a > $1/out"),
            ("b", f"echo b{n} >> {tmp_path}/order; touch $1/out; : $2", ["a"]),
            ("c", f"echo c{n} >> {tmp_path}/order; touch $1/out; : $2", ["b"]),
            jobs=1,
        ).plan()
        for n in range(3)
    ]
    graph, _ = merged(*plans)
    run(graph, tmp_path / "store")
    assert (tmp_path / "order").read_text().split() == ["b0", "c0", "b1", "c1", "b2", "c2"]


def test_one_forced_point_forces_its_nodes_alone(tmp_path):
    script = ("a", "echo a > $1/out")
    plain = world(tmp_path, script, ("b", "echo b > $1/out"))
    forced = world(tmp_path, script, ("b", "echo c > $1/out"))
    forced.force = "b"
    graph, _ = merged(plain.plan(), forced.plan())
    assert graph.forced == {"b.2"}
    run(graph, tmp_path / "store")
    assert statuses(run(graph, tmp_path / "store")) == {"a": "hit", "b": "hit", "b.2": "done"}


def test_points_share_one_store(tmp_path):
    one = recipe(variant="tiny")
    other = resolve(settings(variant="tiny", paths={"store": "elsewhere", "runs": "runs"}))
    merger = Merger()
    merger.add("0", make_plan(one, HOST))
    with pytest.raises(PlanError, match="paths is not the same") as caught:
        merger.add("1", make_plan(other, HOST))
    assert caught.value.code == "CFG140"


def test_two_recipes_two_formats_two_batches(tmp_path):
    """What a batch decides is built for each, what it does not is built once."""
    merger = Merger()
    for name in ("llava", "llava_next"):
        for quant in ("none", "int4_wo"):
            for batch in (1, 2):
                made = recipe(name, backend="fake", quant=quant, workload__batch_size=batch)
                merger.add(f"{name}{quant}{batch}", make_plan(made, HOST))
    graph = merger.merged()
    counts: dict[str, int] = {}
    for node in graph.nodes:
        counts[node.kind] = counts.get(node.kind, 0) + 1
    # LLaVA's vision engine has the tool's own batch size, which covers both workloads.
    assert counts == {
        "download": 2,
        "convert": 4,
        "build_vision": 3,
        "build_llm": 8,
        "assemble": 8,
        "run": 8,
    }
    verdicts = assess_graph(graph, Store(tmp_path))
    assert verdicts.count("run") == 33
    assert all(graph.choice_of(node).backend.name == "fake" for node in graph.nodes)
    assert {graph.recipe_of(node).name for node in graph.nodes} == {"llava", "llava_next"}
