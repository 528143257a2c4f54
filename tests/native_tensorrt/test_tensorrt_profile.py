from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from onnx import helper

from mmtrt.native.errors import NativeError
from mmtrt.native.onnx_export import TensorSpec
from mmtrt.native.tensorrt_profile import Shapes, check_profile, graph_io, profile_of

LLM_LIMITS = {
    "max_batch_size": 3,
    "max_input_len": 64,
    "max_seq_len": 80,
    "max_num_tokens": 160,
    "max_multimodal_len": 27,
}
IDS = TensorSpec("ids", "int64", ("batch", "tokens"))
KEYS = TensorSpec("keys_0", "float32", ("batch", 2, 80, 8))
TABLE = TensorSpec("table", "float32", ("rows", 32))
START = TensorSpec("start", "int64", (1,))


def pair(x: Any, y: Any) -> dict[str, Shapes]:
    return {name: Shapes(*((size, 4) for size in sizes)) for name, sizes in (("x", x), ("y", y))}


def test_inputs_are_read_from_the_file_without_its_weights(sum_file: Path) -> None:
    inputs, outputs = graph_io(sum_file)
    assert inputs == [TensorSpec(name, "float32", ("batch", 4)) for name in "xy"]
    assert outputs == [TensorSpec("z", "float32", ("batch", 4))]


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(NativeError, match="not an ONNX graph") as error:
        graph_io(tmp_path / "model.onnx")
    assert error.value.code == "ENG212"


def test_limits_bound_every_side_of_a_language_model() -> None:
    assert profile_of("llm", LLM_LIMITS, [IDS, START, TABLE, KEYS]) == {
        "ids": Shapes((1, 1), (3, 64), (3, 64)),
        "start": Shapes((1,), (1,), (1,)),
        "table": Shapes((1, 32), (27, 32), (27, 32)),
        "keys_0": Shapes((1, 2, 80, 8), (3, 2, 80, 8), (3, 2, 80, 8)),
    }


def test_images_are_bounded_by_the_vision_limit() -> None:
    pixels = TensorSpec("pixels", "float32", ("images", 3, 24, 24))
    assert profile_of("vision", {"max_batch_size": 5}, [pixels])["pixels"].max == (5, 3, 24, 24)


def test_a_side_may_be_a_product_of_another() -> None:
    inputs = [
        TensorSpec("a", "float32", ("4*batch", 2)),
        TensorSpec("b", "float32", ("batch", "4*batch + 1")),
    ]
    assert profile_of("llm", LLM_LIMITS, inputs) == {
        "a": Shapes((4, 2), (12, 2), (12, 2)),
        "b": Shapes((1, 5), (3, 13), (3, 13)),
    }


def test_patch_rows_are_bounded_by_shares_of_the_vision_limit() -> None:
    inputs = [
        TensorSpec("pixels", "float32", ("4*squares", 384)),
        TensorSpec("frames", "int64", ("4*squares",)),
    ]
    profile = profile_of("vision", {"max_batch_size": 2}, inputs)
    assert profile["pixels"] == Shapes((4, 384), (2 * 5184, 384), (2 * 5184, 384))
    assert profile["frames"].max == (2 * 5184,)


def test_patches_of_one_picture_are_bounded_by_one_share() -> None:
    pixels = TensorSpec("pixels", "float32", ("images", "patches", 770))
    profile = profile_of("vision", {"max_batch_size": 2}, [pixels])
    assert profile["pixels"].max == (2, 5184, 770)


def test_a_decoder_attends_to_as_many_states_as_its_limit_says() -> None:
    limits = {"max_batch_size": 3, "max_seq_len": 20, "max_encoder_input_len": 2048}
    states = TensorSpec("states", "float32", ("batch", "states", 32))
    assert profile_of("decoder", limits, [states])["states"].max == (3, 2048, 32)


def test_a_decoder_starts_from_less_than_its_cache() -> None:
    limits = {"max_batch_size": 3, "max_seq_len": 20}
    assert profile_of("decoder", limits, [IDS])["ids"].max == (3, 20)


def test_sides_keep_their_names_beside_an_argument_without_tensors(tmp_path: Path) -> None:
    import torch

    from mmtrt.native.onnx_export import export_onnx

    class Twice(torch.nn.Module):
        def forward(self, x: Any, extras: Any) -> Any:
            return x * 2

    graph = export_onnx(
        Twice(),
        (torch.zeros(2, 3), []),
        ({0: torch.export.Dim("batch")}, []),
        input_names=["x"],
        output_names=["y"],
        output_dir=tmp_path,
        weight_dtype="float32",
    )
    assert graph.inputs == (TensorSpec("x", "float32", ("batch", 3)),)
    assert graph.outputs == (TensorSpec("y", "float32", ("batch", 3)),)


def test_every_side_without_a_limit_is_told() -> None:
    inputs = [IDS, TensorSpec("x", "float32", ("height", "2*width"))]
    with pytest.raises(NativeError) as error:
        profile_of("llm", LLM_LIMITS, inputs)
    text = str(error.value)
    assert "error[ENG213]: input x: nothing says how large its side 'height' may be" in text
    assert "'width'" in text
    assert "limits of this llm engine: max_batch_size, max_input_len" in text


@pytest.mark.parametrize("side", ["s 0", "max(1, batch)"])
def test_a_side_that_is_no_arithmetic_is_told(side: str) -> None:
    with pytest.raises(NativeError, match=r"side"):
        profile_of("llm", LLM_LIMITS, [TensorSpec("x", "float32", (side,))])


def test_a_consistent_profile_passes(sum_file: Path) -> None:
    check_profile(pair((1, 2, 4), (1, 2, 4)), graph_io(sum_file)[0])


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        (
            pair((1, 2, 4), (1, 3, 4)),
            "profile of y: side 0 (batch) is (1, 3, 4), and (1, 2, 4) in x",
        ),
        (pair((0, 2, 4), (0, 2, 4)), "profile of x: side 0 (batch) is (0, 2, 4)"),
        (pair((1, 5, 4), (1, 5, 4)), "profile of x: side 0 (batch) is (1, 5, 4)"),
        ({"x": Shapes((1, 4), (2, 4), (4, 4))}, "profile of y: the profile lacks it"),
        (
            pair((1, 2, 4), (1, 2, 4)) | {"w": Shapes((1,), (1,), (1,))},
            "profile of w: the graph has no such input",
        ),
        (
            pair((1, 2, 4), (1, 2, 4)) | {"y": Shapes((1, 5), (2, 5), (4, 5))},
            "profile of y: side 1 is 4 in the graph, (5, 5, 5) here",
        ),
        (
            pair((1, 2, 4), (1, 2, 4)) | {"y": Shapes((1,), (2,), (4,))},
            "profile of y: the graph has 2 sides, the profile has not",
        ),
    ],
)
def test_a_contradiction_is_told(profile: Any, message: str, sum_file: Path) -> None:
    with pytest.raises(NativeError) as error:
        check_profile(profile, graph_io(sum_file)[0])
    assert error.value.code == "ENG213"
    assert message in str(error.value)


def test_all_contradictions_are_told_at_once(onnx_file: Callable[..., Path]) -> None:
    add = [helper.make_node("Add", ["x", "y"], ["z"])]
    inputs, _ = graph_io(onnx_file(add, inputs=("x", "y"), side="rows"))
    with pytest.raises(NativeError) as error:
        check_profile(pair((0, 2, 4), (1, 3, 2)), inputs)
    assert str(error.value).count("error[ENG213]") == 3
