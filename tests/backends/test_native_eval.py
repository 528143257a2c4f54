"""The native evaluation as a plan has it: its data set, its flags, what enters its key."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mmtrt.backends.base import Local, symbol
from mmtrt.errors import PlanError
from mmtrt.plan.build import make_plan
from mmtrt.plan.render import symbolic
from mmtrt.rules.check import find
from tests.worlds import HOST, recipe

TASK = {"eval__task": "lmms-lab/MME"}


def plan_of(name="llava", variant="tiny", host=HOST, **changes):
    return make_plan(recipe(name, variant=variant, **{**TASK, **changes}), host)


def words(node):
    return [symbol(word) for word in node.command.argv]


def test_a_made_model_gets_a_data_set_of_drawn_shapes():
    plan = plan_of(eval__max_ite=7, run__batch_size=2, eval__test_hf=True)
    drawn, asked = words(plan["eval_data"]), words(plan["eval"])
    assert drawn[-6:] == ["--task", "lmms-lab/MME", "--count", "7", "--seed", "0"]
    assert asked[asked.index("--dataset-dir") + 1] == "{in.dataset}"
    assert asked[-7:-1] == ["--max-ite", "7", "--batch-size", "2", "--max-new-tokens", "30"]
    assert "--test-hf" in asked and "--no-test-engines" not in asked
    assert {"eval_data", "assemble", "download"} <= set(plan["eval"].needs)


def test_the_users_own_data_set_is_taken_instead(tmp_path):
    plan = plan_of(eval__dataset_dir=str(tmp_path), eval__accuracy_threshold=62.5)
    assert "eval_data" not in [node.id for node in plan.nodes]
    assert Local("dataset", str(tmp_path)) in plan["eval"].command.argv
    asked = words(plan["eval"])
    assert asked[asked.index("--accuracy-threshold") + 1] == "62.5"


def test_no_data_set_is_drawn_for_what_is_not_evaluated():
    assert plan_of(until="assemble")["eval_data"].command is None
    assert plan_of(eval__task=None)["eval"].skip == "eval.task is not set"


@pytest.mark.parametrize("name", ["deplot", "nougat", "gemma3", "phi4_multimodal"])
def test_families_that_eval_py_does_not_know_are_evaluated_too(name):
    plan = plan_of(name)
    assert plan["eval"].command is not None
    assert "EVL102" not in [finding.code for finding in find(plan)]


def test_a_missing_package_is_told_before_anything_runs():
    found = {f.message: f.fix for f in find(plan_of()) if f.code == "HST102"}
    assert found == {"this host lacks pyarrow": "pip install 'mmtrt[eval]'"}
    there = replace(HOST, versions={**HOST.versions, "pyarrow": "26.0.1"})
    assert not [f for f in find(plan_of(host=there)) if f.code == "HST102"]


def test_the_batch_is_no_part_of_what_eval_py_is_asked():
    plan = plan_of("blip2", None, backend="trtllm")
    assert not [word for word in symbolic(plan["eval"].command) if "batch" in word]


def test_an_evaluation_needs_room_for_the_original_model():
    alone, beside = plan_of(), plan_of(eval__test_hf=True)
    ram = [plan["eval"].command.resources.ram_bytes for plan in (alone, beside)]
    assert 0 < ram[0] < ram[1]


@pytest.mark.parametrize("name", ["cogvlm", "internlm_xcomposer2", "vila", "phi3_vision"])
def test_a_family_that_cannot_be_native_says_why(name):
    with pytest.raises(PlanError) as caught:
        make_plan(recipe(name, backend="native"), HOST)
    told = caught.value.render()
    assert "transformers does not have" in told and "fix: backend=trtllm" in told
    plan = make_plan(recipe(name), HOST)
    assert "transformers does not have" in plan.choice.because
