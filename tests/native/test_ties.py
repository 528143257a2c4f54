"""Fields of real engine directories are changed, and the engines are refused before loading."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch

from mmtrt.native.engine_set import read_engines
from mmtrt.native.errors import NativeError
from mmtrt.native.ties import Machine, Ties, misfits

needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="for a host without a GPU")


def copy_with(engines: Path, target: Path, **fields: Any) -> Path:
    """Link real engines, with other fields in what the language model is tied to."""
    for name in ("llm", "vision"):
        (target / name).mkdir(parents=True)
        for file in (engines / name).iterdir():
            (target / name / file.name).symlink_to(file)
    config = target / "llm/config.json"
    document = json.loads(config.read_text())
    document["tied_to"].update(fields)
    config.unlink()
    config.write_text(json.dumps(document))
    return target


def test_an_engine_says_what_it_is_tied_to(engines: Path) -> None:
    document = json.loads((engines / "llm/config.json").read_text())
    version = onnxruntime.__version__
    tied = {"package": "onnxruntime", "version": version, "device": "cpu", "opset": 20}
    assert (document["engine"], document["tied_to"]) == ("onnxruntime", tied)


@pytest.mark.parametrize(
    ("field", "value", "message", "fix"),
    [
        ("package", "onnxruntime_qnn", "package is onnxruntime_qnn, here it is onnxruntime", None),
        ("opset", 99, "opset is 99, here it is ", "install onnxruntime "),
        pytest.param(
            *("device", "cuda", "device is cuda, here it is cpu", "use a host with a GPU"),
            marks=needs_no_gpu,
        ),
        ("device", "npu", "device is npu, here it is cpu", None),
        ("cpu", "vax", "cpu is vax, here it is ", "use a host whose processor has it"),
    ],
)
def test_a_field_that_differs_is_named_before_anything_is_loaded(
    engines: Path, tmp_path: Path, field: str, value: Any, message: str, fix: str | None
) -> None:
    with pytest.raises(NativeError) as refused:
        read_engines(copy_with(engines, tmp_path, **{field: value}))
    error = refused.value
    assert error.code == "ART212"
    assert not error.also
    assert f"{tmp_path / 'llm'}: {message}" in error.message
    assert (fix or "build it again here with engine=onnxruntime") in str(error.fix)


def test_every_field_that_differs_is_named_at_once(engines: Path, tmp_path: Path) -> None:
    with pytest.raises(NativeError) as refused:
        read_engines(copy_with(engines, tmp_path, opset=99, cpu="vax", device="npu"))
    told = refused.value.render()
    assert told.count("error[ART212]") == 3


def test_another_onnx_runtime_will_do(engines: Path, tmp_path: Path) -> None:
    """A graph is tied to an opset, not to the version that it was tried with."""
    assert read_engines(copy_with(engines, tmp_path, version="1.0")).llm.engine == "onnxruntime"


def test_engines_that_say_nothing_are_not_judged(engines: Path, tmp_path: Path) -> None:
    config = copy_with(engines, tmp_path) / "llm/config.json"
    document = json.loads(config.read_text())
    del document["tied_to"]
    config.write_text(json.dumps(document))
    assert read_engines(tmp_path).llm.ties is None


class Other(Machine):
    """A machine with a GPU and TensorRT."""

    def version(self, engine: str) -> str | None:
        return {"tensorrt": "10.13"}.get(engine)

    def sm(self) -> int | None:
        return 90


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, []),
        ({"version": "10.12"}, ["version is 10.12, here it is 10.13"]),
        ({"sm": (80, 89)}, ["sm is 80, 89, here it is 90"]),
        (
            {"engine": "tensorrt_rtx", "package": "tensorrt_rtx"},
            ["package is tensorrt_rtx, here it is not installed"],
        ),
    ],
)
def test_plans(fields: dict[str, Any], expected: list[str]) -> None:
    plan = {"engine": "tensorrt", "package": "tensorrt", "version": "10.13", "device": "cuda"}
    found = misfits(Path("e"), Ties(**{**plan, "sm": (90,), **fields}), Other())
    assert [error.message for error in found] == [f"e: {each}" for each in expected]
