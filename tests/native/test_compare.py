"""Two engines side by side: the same, other bytes and the same numbers, other numbers, limits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mmtrt.native.compare import made_up, main
from tests.native.conftest import start_stage


def compared(first: Path, second: Path, output: Path, *flags: str) -> dict:
    words = ["--first", str(first), "--second", str(second), "--output-dir", str(output)]
    assert main([*words, *flags]) == 0
    return json.loads((output / "compare.json").read_text())


@pytest.fixture
def other(engines: Path, tmp_path: Path) -> Path:
    """A copy of the engines, to be changed."""
    return Path(shutil.copytree(engines, tmp_path / "other"))


@pytest.mark.parametrize("part", ["llm", "vision"])
def test_an_engine_is_the_same_as_itself(engines: Path, tmp_path: Path, part: str) -> None:
    document = compared(engines / part, engines / part, tmp_path / "out")
    assert document["same"] and not document["contract"] and document["not_run"] is None
    assert {row["difference"] for row in document["outputs"]} == {0.0}


def weights_times(factor: float, model: Path) -> None:
    """Multiply every large float32 initializer of a graph."""
    import numpy
    import onnx

    graph = onnx.load(model)
    for tensor in graph.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 2:
            values = onnx.numpy_helper.to_array(tensor) * numpy.float32(factor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    onnx.save(graph, model)


def test_other_bytes_with_the_same_numbers_are_the_same(
    engines: Path, other: Path, tmp_path: Path
) -> None:
    weights_times(1 + 1e-7, other / "vision/model.onnx")
    assert (other / "vision/model.onnx").read_bytes() != (
        engines / "vision/model.onnx"
    ).read_bytes()
    document = compared(engines / "vision", other / "vision", tmp_path / "out")
    assert document["same"]


@pytest.mark.parametrize("part", ["llm", "vision"])
def test_other_numbers_are_told(engines: Path, other: Path, tmp_path: Path, part: str) -> None:
    weights_times(1.01, other / part / "model.onnx")
    document = compared(engines / part, other / part, tmp_path / "out")
    assert not document["same"]
    assert max(row["difference"] for row in document["outputs"]) > 1e-3
    wide = compared(engines / part, other / part, tmp_path / "out", "--tolerance", "10")
    assert wide["same"]


def test_another_limit_is_told_without_running(engines: Path, other: Path, tmp_path: Path) -> None:
    config = json.loads((other / "llm/config.json").read_text())
    config["limits"]["max_batch_size"] += 1
    config["versions"]["torch"] = "another"
    (other / "llm/config.json").write_text(json.dumps(config))
    document = compared(engines / "llm", other / "llm", tmp_path / "out")
    assert [row["field"] for row in document["contract"]] == ["limits"]
    assert not document["same"] and document["outputs"] is None


def test_engines_of_another_format_are_compared_by_their_contract(
    engines: Path, other: Path, tmp_path: Path
) -> None:
    for directory in (engines, other):
        copy = Path(shutil.copytree(directory / "llm", tmp_path / f"plan-{directory.name}"))
        config = json.loads((copy / "config.json").read_text()) | {"engine": "tensorrt"}
        (copy / "config.json").write_text(json.dumps(config))
    one, two = sorted(tmp_path.glob("plan-*"))
    document = compared(one, two, tmp_path / "out")
    assert document["same"] and document["outputs"] is None
    assert document["not_run"] == "engines of tensorrt are not run to be compared"


def test_made_up_input_follows_the_seed() -> None:
    class Spec:
        def __init__(self, name, kind, shape):
            self.name, self.type, self.shape = name, kind, shape

    specs = [
        Spec("ids", "tensor(int64)", ["batch", "tokens"]),
        Spec("kv_mask", "tensor(bool)", ["batch", 16]),
        Spec("table", "tensor(float16)", ["rows", 4]),
    ]
    one, same, another = (made_up(specs, 9, seed) for seed in (1, 1, 2))
    assert (one["ids"] == same["ids"]).all() and (one["ids"] != another["ids"]).any()
    assert one["ids"].max() < 9 and one["ids"].shape == (1, 8)
    assert one["kv_mask"].sum() == 8
    assert one["table"].dtype == "float16"


def test_a_directory_without_engine_is_refused(engines: Path, tmp_path: Path) -> None:
    flags = ("--first", engines / "llm", "--second", tmp_path, "--output-dir", tmp_path / "out")
    process = start_stage("compare", *flags)
    _, err = process.communicate()
    assert process.returncode == 2 and "error[ART203]" in err
