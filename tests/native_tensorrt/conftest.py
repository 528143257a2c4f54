"""Small ONNX files, a record of a plan, and the package where it is installed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

if any(find_spec(package) is None for package in ("torch", "onnx", "onnxruntime")):
    # Every test here needs the native extra.
    collect_ignore_glob = ["test_*.py"]

MODEL = Path(__file__).resolve().parents[2] / "recipes/assets/llava_tiny"


@pytest.fixture(scope="session")
def rtx() -> Any:
    """Return the API of TensorRT-RTX."""
    if find_spec("tensorrt_rtx") is None:
        pytest.skip("tensorrt_rtx is not installed here; `make test-rtx` installs it")
    from mmtrt.native.tensorrt_api import TensorrtApi

    return TensorrtApi("tensorrt_rtx")


@pytest.fixture
def onnx_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a graph from its nodes and its inputs, which are all ``[batch, 4]``."""
    from onnx import TensorProto, helper, save

    def write(nodes: Sequence[Any], *, inputs: Sequence[str] = ("x",), side: str = "batch") -> Path:
        def value(name: str) -> Any:
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, [side, 4])

        graph = helper.make_graph(nodes, "g", [value(name) for name in inputs], [value("z")])
        path = tmp_path / "model.onnx"
        save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), path)
        return path

    return write


@pytest.fixture
def sum_file(onnx_file: Callable[..., Path]) -> Path:
    """Write ``z = x + y``."""
    from onnx import helper

    return onnx_file([helper.make_node("Add", ["x", "y"], ["z"], name="add")], inputs=("x", "y"))


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the components of the LLaVA that ships."""
    from mmtrt.native.convert import main

    directory = tmp_path_factory.mktemp("checkpoint")
    assert main(["--model-dir", str(MODEL), "--output-dir", str(directory)]) == 0
    return directory


@pytest.fixture(scope="session")
def graphs(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return its engines for ONNX Runtime, as llm/ and vision/."""
    from mmtrt.native import build_llm, build_vision

    directory = tmp_path_factory.mktemp("graphs")
    limits = ("--max-batch-size", "2", "--max-input-len", "64", "--max-seq-len", "80")
    for name, stage, flags in (("llm", build_llm, limits), ("vision", build_vision, limits[:2])):
        where = ("--checkpoint-dir", checkpoint / name, "--output-dir", directory / name)
        assert stage.main([*map(str, where), *flags]) == 0
    return directory
