"""A small graph of a family's kind as a package, and what its directory is tied to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mmtrt.cpu import this_cpu
from mmtrt.native.component import Component, SpecialTokens
from mmtrt.native.engine_config import read_engine_config
from mmtrt.native.errors import NativeError
from mmtrt.native.graph import Graph
from mmtrt.native.ties import Machine, misfits


class Encoder(nn.Module):
    """Two outputs and a buffer, as encoders of tiles have them."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(12, 8)
        self.register_buffer("newline", torch.randn(8))

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.inner(pixels.flatten(1))[:, None], self.newline.clone()


COMPONENT = Component(
    family="llava",
    component="vision",
    dtype="float32",
    hf_config={},
    vocab_size=5,
    hidden_size=8,
    num_visual_features=1,
    image_size=(2, 2),
    special_tokens=SpecialTokens(),
    tie_word_embeddings=False,
)


# Needs engines of its own: half a minute.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(3)
    return Encoder().eval()


@pytest.fixture(scope="module")
def engine(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mmtrt.native.aot_engine import AotTarget, build_vision_package

    checkpoint, output = (tmp_path_factory.mktemp(name) for name in ("checkpoint", "engine"))
    COMPONENT.write(checkpoint)
    (checkpoint / "rank0.safetensors").write_bytes(b"")
    graph = Graph(
        module=encoder,
        args=(torch.zeros(2, 3, 2, 2),),
        dynamic_shapes=({0: torch.export.Dim("images")},),
        input_names=["pixels"],
        output_names=["features", "newline"],
    )
    build_vision_package(graph, COMPONENT, checkpoint, output, max_batch_size=4, target=AotTarget())
    return output


@pytest.mark.parametrize("images", [1, 3])
def test_a_package_gives_what_the_module_gives(engine: Path, encoder: Encoder, images: int) -> None:
    from mmtrt.native.aot_graphs import AotGraphs

    pixels = np.random.default_rng(images).normal(size=(images, 3, 2, 2)).astype(np.float32)
    graph = AotGraphs({"vision": engine})["vision"]
    assert [output.name for output in graph.get_outputs()] == ["features", "newline"]
    newline, features = graph.run(["newline", "features"], {"pixels": pixels})
    with torch.no_grad():
        expected = encoder(torch.from_numpy(pixels))
    np.testing.assert_allclose(features, expected[0].numpy(), atol=1e-6)
    np.testing.assert_array_equal(newline, expected[1].numpy())


def test_a_package_is_tied_to_torch_and_processor(engine: Path) -> None:
    document = json.loads((engine / "config.json").read_text())
    tied = {"package": "torch", "version": torch.__version__, "device": "cpu", "cpu": this_cpu()}
    assert document["tied_to"] == tied
    assert not [*misfits(engine, _ties(engine), Machine())]


@pytest.mark.parametrize(
    ("fields", "message", "fix"),
    [
        ({"package": "torch_xla"}, "package is torch_xla, here it is torch", "install torch_xla"),
        ({"version": "2.0.0"}, f"version is 2.0.0, here it is {torch.__version__}", "torch 2.0.0"),
        ({"cpu": "pdp-11"}, f"cpu is pdp-11, here it is {this_cpu()}", "use a host whose"),
        ({"device": "cuda", "sm": [75]}, "device is cuda, here it is cpu", "host with sm 75"),
    ],
    ids=["package", "version", "cpu", "device"],
)
def test_another_machine_refuses_it(
    engine: Path, tmp_path: Path, fields: dict[str, Any], message: str, fix: str
) -> None:
    if "sm" in fields and torch.cuda.is_available():
        pytest.skip("for a host without a GPU")
    for file in engine.iterdir():
        (tmp_path / file.name).symlink_to(file)
    document = json.loads((engine / "config.json").read_text())
    document["tied_to"].update(fields)
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").write_text(json.dumps(document))
    (misfit,) = misfits(tmp_path, _ties(tmp_path), Machine())
    assert misfit.code == "ART212"
    assert misfit.message == f"{tmp_path}: {message}"
    assert fix in str(misfit.fix)


@pytest.mark.parametrize("name", ["graph.pt2", "weights.safetensors"])
def test_a_missing_file_is_named(engine: Path, tmp_path: Path, name: str) -> None:
    for file in engine.iterdir():
        if file.name != name:
            (tmp_path / file.name).symlink_to(file)
    with pytest.raises(NativeError, match=name):
        read_engine_config(tmp_path, "vision")


def _ties(directory: Path) -> Any:
    return read_engine_config(directory, "vision").ties
