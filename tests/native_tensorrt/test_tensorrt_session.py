from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch

from mmtrt.native.errors import NativeError
from mmtrt.native.tensorrt_api import HostLacks
from tests.native_tensorrt.standin import CpuSession, StandIn, as_plan

# Needs engines of its own: half a minute.
pytestmark = pytest.mark.slow


@pytest.fixture
def vision(graphs: Path, tmp_path: Path) -> Path:
    return as_plan(graphs / "vision", tmp_path / "vision")


def pixels(count: int) -> Any:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(count, 3, 48, 48))).float()


@pytest.mark.parametrize("count", [1, 2])
def test_outputs_have_the_shapes_and_values_of_the_call(
    count: int, vision: Path, graphs: Path
) -> None:
    session = CpuSession(vision, api=StandIn())
    for _ in range(2):
        found = session.run({"pixels": pixels(count)})["features"]
        graph = ort.InferenceSession(graphs / "vision/model.onnx")
        wanted = graph.run(None, {"pixels": pixels(count).numpy()})[0]
        np.testing.assert_array_equal(found.numpy(), wanted)


def test_a_prefill_and_a_decode_step_of_one_plan(graphs: Path, tmp_path: Path) -> None:
    session = CpuSession(as_plan(graphs / "llm", tmp_path / "llm"), api=StandIn())
    record = session.record
    caches = {
        name: torch.zeros((2, *record.profile[name].max[1:]))
        for name in record.inputs
        if name.startswith(("keys_", "values_"))
    }
    mask = torch.ones((2, 80), dtype=torch.bool)
    for start, tokens in ((0, 5), (5, 1)):
        ids = 10 + torch.arange(start, start + tokens).repeat(2, 1)
        feeds = {
            "ids": ids,
            "positions": ids,
            "start": torch.tensor([start]),
            "kv_mask": mask,
            "table": torch.zeros((1, 128)),
            **caches,
        }
        outputs = session.run(feeds)
        graph = ort.InferenceSession(graphs / "llm/model.onnx")
        names = list(outputs)
        wanted = graph.run(names, {name: value.numpy() for name, value in feeds.items()})
        for name, value in zip(names, wanted):
            np.testing.assert_array_equal(outputs[name].numpy(), value)
        caches = {name: outputs[f"{name}_out"] for name in caches}
    assert torch.count_nonzero(caches["keys_0"][0, 0].abs().sum(-1)) == 6


def test_a_tensor_that_is_not_contiguous_is_made_so(vision: Path) -> None:
    session = CpuSession(vision, api=StandIn())
    turned = pixels(1).transpose(2, 3)
    found = session.run({"pixels": turned})["features"]
    assert torch.equal(found, session.run({"pixels": turned.contiguous()})["features"])


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({"pixels": pixels(3)}, "pixels has shape [3, 3, 48, 48], the plan takes [1, 3, 48, 48]"),
        ({"pixels": pixels(1).double()}, "pixels is torch.float64 on cpu, the plan takes"),
        ({}, "pixels is missing"),
    ],
)
def test_a_call_that_does_not_fit_never_reaches_the_gpu(
    feeds: Any, message: str, vision: Path
) -> None:
    session = CpuSession(vision, api=StandIn())
    with pytest.raises(NativeError) as error:
        session.run(feeds)
    assert error.value.code == "RUN221"
    assert message in str(error.value)
    assert session._context.calls == 0


def test_another_version_and_gpu_are_refused_before_the_plan_is_read(vision: Path) -> None:
    (vision / "model.plan").unlink()
    with pytest.raises(NativeError) as error:
        CpuSession(vision, api=StandIn(version="1.8.0.1", sm=120))
    assert error.value.code == "ART212"
    assert "version is 1.7.1.116, tensorrt_rtx 1.8.0.1 is installed" in str(error.value)
    assert "compute_capabilities is 89, this GPU has 120" in str(error.value)


def test_a_machine_without_a_gpu_is_told_so_with_status_5(vision: Path) -> None:
    with pytest.raises(HostLacks, match="torch sees no GPU here") as error:
        CpuSession(vision, api=StandIn(sm=None))
    assert (error.value.code, error.value.exit_code) == ("HST202", 5)


@pytest.mark.parametrize(
    ("change", "field"),
    [(lambda plan: plan[:-1], "size_bytes"), (lambda plan: plan[::-1], "sha256")],
)
def test_a_file_that_was_changed_is_not_loaded(change: Any, field: str, vision: Path) -> None:
    plan = vision / "model.plan"
    plan.write_bytes(change(plan.read_bytes()))
    with pytest.raises(NativeError, match=rf"{field} is .* was recorded"):
        CpuSession(vision, api=StandIn())


def test_a_missing_plan_is_told(vision: Path) -> None:
    (vision / "model.plan").unlink()
    with pytest.raises(NativeError, match=r"model\.plan: no such file"):
        CpuSession(vision, api=StandIn())


def test_what_the_package_says_of_a_plan_that_it_refuses_is_told(
    vision: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = StandIn()
    monkeypatch.setattr(StandIn, "_deserialize", lambda self, plan: api.log.errors.append("why"))
    api = StandIn()
    with pytest.raises(NativeError) as error:
        CpuSession(vision, api=api)
    assert error.value.code == "ART213"
    assert "why: why" in str(error.value)


def test_a_real_plan_fails_here_for_want_of_a_gpu_and_says_so(
    rtx: Any, graphs: Path, tmp_path: Path
) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    from mmtrt.native.tensorrt_session import PlanSession

    with pytest.raises(HostLacks, match="torch sees no GPU here"):
        PlanSession(as_plan(graphs / "vision", tmp_path / "vision"))
