from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
ort = pytest.importorskip("onnxruntime")

from mmtrt.native import onnx_export  # noqa: E402 - needs torch
from mmtrt.native.onnx_export import TensorSpec, export_onnx  # noqa: E402

SIDE = 48


def export(output: Path, dtype: str = "float32") -> Any:
    """Export a linear layer whose weight was stored as ``dtype`` and whose bias was not."""
    output.mkdir()
    torch.manual_seed(0)
    linear = torch.nn.Linear(SIDE, SIDE).eval().requires_grad_(False)
    linear.weight.copy_(torch.randn(SIDE, SIDE).to(getattr(torch, dtype)))
    graph = export_onnx(
        linear,
        (torch.zeros(2, SIDE),),
        ({0: torch.export.Dim("rows")},),
        input_names=["x"],
        output_names=["y"],
        output_dir=output,
        weight_dtype=dtype,
    )
    x = np.random.default_rng(0).normal(size=(5, SIDE)).astype(np.float32)
    y = ort.InferenceSession(output / "model.onnx").run(["y"], {"x": x})[0]
    np.testing.assert_allclose(y, linear(torch.from_numpy(x)).numpy(), atol=1e-5)
    return graph


def test_inputs_and_outputs_are_told(tmp_path: Path) -> None:
    graph = export(tmp_path / "a")
    assert graph.inputs == (TensorSpec("x", "float32", ("rows", SIDE)),)
    assert graph.outputs == (TensorSpec("y", "float32", ("rows", SIDE)),)
    assert graph.files == ("model.onnx",)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_weights_are_stored_narrow_and_compute_the_same(tmp_path: Path, dtype: str) -> None:
    wide = export(tmp_path / "wide").size_bytes
    narrow = export(tmp_path / "narrow", dtype).size_bytes
    assert wide - narrow == pytest.approx(SIDE * SIDE * 2, abs=300)


def test_weights_too_large_for_protobuf_go_beside_the_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_export, "_EXTERNAL_DATA_BYTES", 1000)
    graph = export(tmp_path / "a")
    assert graph.files == ("model.onnx", "model.onnx.data")
    assert (tmp_path / "a/model.onnx").stat().st_size < 2000
    assert graph.size_bytes > SIDE * SIDE * 4
