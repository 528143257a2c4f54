from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from mmtrt.backends.base import Side, symbol
from mmtrt.errors import HostError, PlanError, RuleViolation
from mmtrt.host import Gpu, HostInfo
from mmtrt.plan.build import make_plan
from mmtrt.plan.graph import Node, Plan
from mmtrt.plan.keys import key_document
from mmtrt.rules.check import check_plan, find
from tests.worlds import HOST, recipe

RTX = {**HOST.versions, "tensorrt-rtx-cu13": "1.7.1.116"}


def host(sm: int | None = None, **versions: str) -> HostInfo:
    gpus = () if sm is None else (Gpu(0, "a GPU", "GPU-0", sm, 24 << 30),)
    return dataclasses.replace(HOST, gpus=gpus, versions={**RTX, **versions})


def plan(on: HostInfo, *, engine: str = "tensorrt_rtx", **changes: Any) -> Plan:
    return make_plan(recipe(variant="tiny", engine=engine, **changes), on)


def node(made: Plan, name: str) -> Node:
    return next(node for node in made.nodes if node.id == name)


def key_of(made: Plan, name: str) -> dict[str, Any]:
    found = node(made, name)
    assert found.command is not None
    digests = {place.symbol(): "d" for place in found.command.places()}
    return key_document(found, made.choice, digests)


@pytest.mark.parametrize("stage", ["build_vision", "build_llm"])
def test_a_build_names_its_target_and_leaves_a_plan(stage: str) -> None:
    made = plan(host(), target__sm=89)
    command = node(made, stage).command
    assert command is not None
    words = [symbol(word) for word in command.argv]
    assert words[words.index("--engine") + 1] == "tensorrt_rtx"
    assert words[-2:] == ["--compute-capability", "89"]
    assert command.outputs == {"config": "config.json", "engine": "model.plan"}
    assert command.resources.gpus == 0
    assert "tensorrt-rtx-cu13" in command.tools
    assert made.choice.backend.toolchain()["version"] == "tensorrt_rtx 1.7.1.116 for sm 89"


def test_target_and_version_are_in_the_keys_of_engines_alone() -> None:
    made = plan(host(), target__sm=89)
    assert key_of(made, "build_llm")["gpu"] == {"sm": 89, "tensorrt_rtx": "1.7.1.116"}
    assert key_of(made, "build_llm")["toolchain"]["versions"]["tensorrt-rtx-cu13"] == "1.7.1.116"
    assert "gpu" not in key_of(made, "convert")


@pytest.mark.parametrize("other", [{"target__sm": 86}, {"engine": "onnxruntime"}])
def test_another_target_or_engine_has_another_key(other: dict[str, Any]) -> None:
    mine = plan(host(), target__sm=89)
    theirs = plan(host(), **{"target__sm": 89, **other})
    for stage in ("build_vision", "build_llm"):
        assert key_of(mine, stage) != key_of(theirs, stage)
    assert key_of(mine, "convert") == key_of(theirs, "convert")


def test_another_version_has_another_key() -> None:
    newer = host(**{"tensorrt-rtx-cu13": "1.8.0.1"})
    assert key_of(plan(host(), target__sm=89), "build_llm") != key_of(
        plan(newer, target__sm=89), "build_llm"
    )


def test_the_default_target_is_the_gpu_of_this_host() -> None:
    assert plan(host(120)).choice.backend.gpu_class() == {"sm": 120, "tensorrt_rtx": "1.7.1.116"}


def test_a_host_without_gpu_must_name_the_target() -> None:
    with pytest.raises(PlanError) as error:
        plan(host())
    assert error.value.code == "ENG104"
    assert error.value.fix == "name it, such as target.sm=89"


@pytest.mark.parametrize(
    ("sm", "why"),
    [
        (75, "float32 matrix products are refused there"),
        (87, "this package builds for 80, 86, 89, 120, 121"),
        (90, "this package builds for 80, 86, 89, 120, 121"),
    ],
)
def test_a_gpu_that_rtx_does_not_know_is_refused(sm: int, why: str) -> None:
    for on, changes in ((host(), {"target__sm": sm}), (host(sm), {})):
        with pytest.raises(PlanError) as error:
            plan(on, **changes)
        assert error.value.code == "ENG105"
        assert f"cannot be built for compute capability {sm}" in str(error.value)
        assert error.value.why == why


def test_running_a_plan_needs_a_gpu() -> None:
    made = plan(host(), target__sm=89)
    command = node(made, "run").command
    assert command is not None
    assert command.resources.gpus == 1
    with pytest.raises(HostError, match="the plan needs 1 GPU") as error:
        check_plan(made)
    assert error.value.code == "HST103"


def test_building_needs_none() -> None:
    check_plan(plan(host(), target__sm=89, until="assemble"))


def test_a_missing_package_is_told_with_its_extra() -> None:
    found = find(plan(HOST, target__sm=89, until="assemble"))
    assert [(each.code, each.message) for each in found] == [
        ("HST102", "this host lacks tensorrt-rtx-cu13")
    ]
    assert found[0].fix == "pip install 'mmtrt[native,tensorrt-rtx]'"


def test_packed_weights_do_not_become_plans() -> None:
    with pytest.raises(RuleViolation, match="engine=tensorrt_rtx has no quant=int8_wo"):
        check_plan(plan(host(), target__sm=89, until="assemble", quant="int8_wo"))


def test_tensorrt_builds_on_any_gpu_that_is_there() -> None:
    made = plan(host(90, tensorrt="10.14.1"), engine="tensorrt")
    for stage in ("build_vision", "build_llm"):
        command = node(made, stage).command
        assert command is not None
        assert command.resources.gpus == 1
        assert key_of(made, stage)["gpu"] == {"sm": 90, "tensorrt": "10.14.1"}
        kept = Side(f"timing/tensorrt-10.14.1-sm90-{stage}.cache")
        assert command.keeps == {"timing.cache": kept}
        words = [symbol(word) for word in command.argv]
        assert words[words.index("--timing-cache") + 1] == kept.symbol()
        assert "timing" not in str(key_of(made, stage)["argv"])


def test_tensorrt_cannot_build_without_a_gpu() -> None:
    made = plan(host(tensorrt="10.14.1"), engine="tensorrt", target__sm=90, until="assemble")
    with pytest.raises(HostError, match="the plan needs 1 GPU"):
        check_plan(made)
