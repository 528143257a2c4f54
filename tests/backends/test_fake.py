"""Every recipe runs from download to answer on stand-ins that refuse what the real tools refuse."""

from __future__ import annotations

import json

import pytest

from mmtrt.artifacts.store import Store
from mmtrt.backends.flags import problems
from mmtrt.executor.loop import RunResult, execute
from mmtrt.host import probe
from mmtrt.plan.assess import assess
from mmtrt.plan.build import make_plan
from mmtrt.plan.render import symbolic
from mmtrt.rules.check import check_plan, find
from tests.every import EVERY, choices, needed, recipe_names
from tests.worlds import HOST, recipe


@pytest.mark.parametrize("tp", [1, 2])
@pytest.mark.parametrize(("name", "variant", "quant"), EVERY)
@pytest.mark.parametrize("version", ["1.0.0", "1.1.0", "1.2.1"])
def test_every_command_is_one_that_the_tools_accept(version, name, variant, quant, tp, tmp_path):
    own = needed(name, tmp_path)
    asked = recipe(
        name,
        variant=variant,
        quant=quant,
        tp=tp,
        backend="trtllm",
        trtllm__version=version,
        eval__task="lmms-lab/VQAv2",
        **own,
    )
    plan = make_plan(asked, HOST)
    refused = [
        problem for node in plan.active() for problem in problems(symbolic(node.command), version)
    ]
    assert refused == []


def run(plan, store: Store) -> RunResult:
    return execute(check_plan(plan), store)


WHOLE = [pytest.param(name, True, id=name, marks=pytest.mark.slow) for name in recipe_names()]
QUICK = [pytest.param(name, False, id=f"{name}-quick") for name in recipe_names()]
"""Of each recipe the first checkpoint in its first two formats."""


@pytest.mark.parametrize(("name", "whole"), [*QUICK, *WHOLE])
def test_every_recipe_runs_and_is_cached_on_the_second_run(name, whole, tmp_path):
    store, own, host = Store(tmp_path / "store"), needed(name, tmp_path), probe()
    visions: dict[tuple[str, int], set] = {}
    for variant, quant in list(choices(name))[: None if whole else 2]:
        for tp in (1, 2) if whole else (2,):
            asked = recipe(name, variant=variant, quant=quant, tp=tp, backend="fake", **own)
            plan = make_plan(asked, host)
            assert [f.render() for f in find(plan) if f.severity == "error"] == []
            result = run(plan, store)
            assert [error.render() for error in result.failures] == []
            document = json.loads((result.artifacts["run"].path / "result.json").read_text())
            assert document["requests"] and all(row["text"] for row in document["requests"])
            assert assess(plan, store).count("hit") == len(plan.active())
            if "build_vision" in result.artifacts:
                made = result.artifacts["build_vision"]
                visions.setdefault((variant, tp), set()).add(made.path)
                assert made.manifest.fake
    # The vision engine does not depend on the language model's number format.
    assert all(len(places) == 1 for places in visions.values())


def test_fake_outputs_never_satisfy_another_backend(tmp_path):
    store = Store(tmp_path / "store")
    run(make_plan(recipe("llava", backend="fake"), probe()), store)
    real = assess(make_plan(recipe("llava", backend="trtllm"), HOST), store)
    assert real.count("hit") == 0


def test_vision_engine_is_linked_into_the_engine_directory(tmp_path):
    store = Store(tmp_path / "store")
    made = {}
    for quant in ("none", "int4_awq"):
        result = run(make_plan(recipe("llava", backend="fake", quant=quant), probe()), store)
        built = result.artifacts["build_vision"].path / "model.engine"
        linked = result.artifacts["assemble"].path / "vision/model.engine"
        assert linked.stat().st_ino == built.stat().st_ino
        made[quant] = built
    assert made["none"] == made["int4_awq"]


def test_timing_cache_is_kept_beside_the_artifacts(tmp_path):
    store = Store(tmp_path / "store")
    run(make_plan(recipe("llava", backend="fake"), probe()), store)
    kept = store.side / "timing/fake-1.2.1.cache"
    before = kept.read_bytes()
    run(make_plan(recipe("llava", backend="fake", force="build_llm"), probe()), store)
    assert kept.exists() and before


TWO = [f"asset://pictures/{name}_on_white.png" for name in ("red_circle_left", "blue_square_right")]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"run__batch_size": 2, "run__prompt": ["a", "b"], "run__image": TWO}, ["batch"]),
        ({"max_multimodal_len": 100}, ["vocab size"]),
        ({"max_input_len": 500, "max_seq_len": 900}, ["input"]),
    ],
)
def test_limits_that_contradict_fail_as_with_the_real_tools(changes, words, tmp_path):
    """What the rules refuse would really fail: the same plan without them."""
    from mmtrt.rules.check import CheckedPlan

    plan = make_plan(recipe("llava", backend="fake", **changes), probe())
    assert [f for f in find(plan) if f.severity == "error"]
    result = execute(CheckedPlan(plan, ()), Store(tmp_path / "store"))
    assert [stage.id for stage in result.stages if stage.status == "failed"] == ["run"]
    logs = "".join(
        path.read_text() for path in (tmp_path / "store/.failed").rglob("std*.log")
    ).lower()
    assert all(word in logs for word in words)


def test_missed_gate_is_a_result(tmp_path):
    store = Store(tmp_path / "store")
    asked = {"eval__task": "lmms-lab/ai2d", "eval__accuracy_threshold": 99.5}
    plan = make_plan(recipe("llava", backend="fake", **asked), probe())
    result = run(plan, store)
    assert not result.failures
    scores = json.loads((result.artifacts["eval"].path / "scores.json").read_text())
    assert scores["passed"] is False and scores["accuracy"] < 99.5
    assert assess(plan, store)["eval"].status == "hit"
