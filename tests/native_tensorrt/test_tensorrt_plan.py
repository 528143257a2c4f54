from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from onnx import helper

from mmtrt.native.errors import NativeError
from mmtrt.native.tensorrt_api import HostLacks
from mmtrt.native.tensorrt_plan import build
from mmtrt.native.tensorrt_profile import Shapes

PROFILE = {name: Shapes((1, 4), (2, 4), (4, 4)) for name in "xy"}


def refusal(path: Path, rtx: Any, **changes: Any) -> NativeError:
    """Return how a build is refused; it must write nothing."""
    given = {"profile": PROFILE, "capabilities": [89], **changes}
    with pytest.raises(NativeError) as error:
        build(path, path.with_name("model.plan"), api=rtx, **given)
    assert not path.with_name("model.plan").exists()
    return error.value


def test_a_plan_comes_with_its_record(sum_file: Path, tmp_path: Path, rtx: Any) -> None:
    plan = tmp_path / "model.plan"
    record = build(sum_file, plan, api=rtx, profile=PROFILE, capabilities=[89, 86, 89])
    assert record["package"] == "tensorrt_rtx"
    assert record["version"] == rtx.version
    assert record["compute_capabilities"] == [86, 89]
    assert record["size_bytes"] == plan.stat().st_size > 1000
    assert record["sha256"] == hashlib.sha256(plan.read_bytes()).hexdigest()
    assert record["profile"]["x"] == {"min": [1, 4], "opt": [2, 4], "max": [4, 4]}
    assert [spec["name"] for spec in record["inputs"]] == ["x", "y"]
    assert record["outputs"] == [{"name": "z", "dtype": "float32", "shape": ("batch", 4)}]
    assert record["strongly_typed"]


def test_equal_builds_give_equal_plans(sum_file: Path, tmp_path: Path, rtx: Any) -> None:
    made = [
        build(sum_file, tmp_path / name, api=rtx, profile=PROFILE, capabilities=[89])
        for name in ("a.plan", "b.plan")
    ]
    assert made[0] == made[1]


@pytest.mark.parametrize("capabilities", [[80], [89], [120], [80, 86, 89, 120, 121]])
def test_every_supported_gpu_can_be_named(
    capabilities: Sequence[int], sum_file: Path, tmp_path: Path, rtx: Any
) -> None:
    plan = tmp_path / "model.plan"
    record = build(sum_file, plan, api=rtx, profile=PROFILE, capabilities=capabilities)
    assert record["compute_capabilities"] == capabilities


def test_a_gpu_that_the_package_lacks_is_refused(sum_file: Path, rtx: Any) -> None:
    error = refusal(sum_file, rtx, capabilities=[75, 89, 90])
    assert error.code == "ENG211"
    assert "cannot build for compute capability 75" in str(error)
    assert "cannot build for compute capability 90" in str(error)
    assert "it builds for 80, 86, 89, 120, 121" in str(error)


def test_a_gpu_must_be_named(sum_file: Path, rtx: Any) -> None:
    assert refusal(sum_file, rtx, capabilities=[]).code == "ENG211"


def test_every_node_that_is_refused_is_told_with_the_reason(
    onnx_file: Callable[..., Path], rtx: Any
) -> None:
    nodes = [
        helper.make_node("StringNormalizer", ["x"], ["t"], name="first"),
        helper.make_node("Relu", ["t"], ["u"], name="fine"),
        helper.make_node("Det", ["u"], ["z"], name="second"),
    ]
    error = refusal(onnx_file(nodes), rtx, profile={"x": PROFILE["x"]})
    text = str(error)
    assert [each.code for each in (error, *error.also)] == ["ENG212", "ENG212"]
    assert f"node 0, StringNormalizer 'first': tensorrt_rtx {rtx.version} refuses it" in text
    assert "node 2, Det 'second'" in text
    assert "UNSUPPORTED_NODE: this operator is not supported (checkDet)" in text


def test_packed_weights_of_onnx_runtime_are_refused(
    onnx_file: Callable[..., Path], rtx: Any
) -> None:
    node = helper.make_node("MatMulNBits", ["x"], ["z"], name="packed", domain="com.microsoft")
    error = refusal(onnx_file([node]), rtx, profile={"x": PROFILE["x"]})
    assert "MatMulNBits 'packed'" in str(error)


def test_a_profile_is_checked_before_anything_is_built(sum_file: Path, rtx: Any) -> None:
    profile = {**PROFILE, "y": Shapes((1, 4), (3, 4), (4, 4))}
    error = refusal(sum_file, rtx, profile=profile)
    assert error.code == "ENG213"
    assert "side 0 (batch) is (1, 3, 4), and (1, 2, 4) in x" in str(error)


def test_the_package_itself_would_refuse_that_profile(
    sum_file: Path, rtx: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmtrt.native.tensorrt_plan.check_profile", lambda *_: None)
    profile = {**PROFILE, "y": Shapes((1, 4), (3, 4), (4, 4))}
    error = refusal(sum_file, rtx, profile=profile)
    assert error.code == "ENG214"
    assert "Dimensions with name batch must be equal" in str(error)


class NoGpu:
    """TensorRT as far as a build asks it on a machine without a GPU, or with another."""

    version = "10.14.1"

    def __init__(self, visible: int | None) -> None:
        from mmtrt.native.tensorrt_api import PACKAGES

        self.package = PACKAGES["tensorrt"]
        self._visible = visible

    def capabilities(self) -> None:
        return None

    def visible_sm(self) -> int | None:
        return self._visible


def test_tensorrt_builds_where_the_gpu_is(sum_file: Path) -> None:
    error = refusal(sum_file, NoGpu(None))
    assert isinstance(error, HostLacks)
    assert (error.code, error.exit_code) == ("HST202", 5)
    error = refusal(sum_file, NoGpu(90))
    assert "builds for the GPU in use, compute capability 90, not for 89" in str(error)
