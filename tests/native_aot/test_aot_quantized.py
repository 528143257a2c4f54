"""Quantized packages answer as transformers does with the weights that the packed ones stand for.

By default the graphs run as PyTorch modules; ``make test-all`` compiles them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.native.conftest import ROOT
from tests.native.dequantized import dequantized, load_into
from tests.native.eager import eager_engines
from tests.native.families import CASES, NEW_TOKENS, Built
from tests.native_aot.eager import eager_packages

FORMATS = ("int8_wo", "int4_wo", "int4_awq", "fp8")
FAMILIES = ("llava", "llava_next", "llava_onevision", "internvl2", "qwen2_vl", "qwen2_5_vl")
TOLERANCE = 1e-4
BLOCK = 32
"""Smaller than the inputs of the tiny models, so that they have several blocks."""


def ids(param: Any) -> str:
    return "-".join(param)


QUICK = {
    ("llava_next", "int8_wo"),
    ("llava_onevision", "int4_awq"),
    ("internvl2", "fp8"),
    ("qwen2_vl", "int4_wo"),
}
EAGER = [
    pytest.param(
        (name, "eager"),
        format_,
        id=f"{name}-eager-{format_}",
        marks=() if name == "llava" or (name, format_) in QUICK else pytest.mark.slow,
    )
    for name in FAMILIES
    for format_ in FORMATS
]
COMPILED = [
    pytest.param(
        (name, "aot_inductor"),
        format_,
        id=f"{name}-compiled-{format_}",
        marks=pytest.mark.slow,
    )
    for name in FAMILIES
    for format_ in FORMATS
]


@pytest.fixture(scope="module")
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """A family whose engine without a format is not compiled: only its pictures are needed."""
    name, kind = request.param
    with eager_engines(), ExitStack() as stack:
        stack.enter_context(eager_packages())
        made = Built(CASES[name], tmp_path_factory.mktemp(name), "aot_inductor")
        if kind != "eager":
            stack.close()
        yield made


def quantized_checkpoint(built: Built, format_: str, directory: Path) -> Path:
    from mmtrt.native import quantize

    flags: list[object] = ["--checkpoint-dir", built.checkpoint, "--output-dir", directory]
    flags += ["--format", format_, "--block-size", BLOCK]
    if format_ in quantize.CALIBRATED:
        pictures = ROOT / "recipes/assets/pictures"
        flags += ["--model-dir", built.model_dir, "--calib-dataset", pictures, "--calib-size", 4]
    built.stage(quantize, *flags)
    return directory / "llm"


def session_of(built: Built, checkpoint: Path, engines: Path) -> Any:
    from mmtrt.native.multimodal_session import MultimodalSession

    built.build_llm(checkpoint, engines / "llm")
    (engines / "vision").symlink_to(built.engines / "vision")
    return MultimodalSession(engines, built.model_dir)


@pytest.mark.cell("{format_}")
@pytest.mark.parametrize(("built", "format_"), [*EAGER, *COMPILED], indirect=["built"])
def test_answers_equal_transformers_with_dequantized_weights(
    built: Built, format_: str, tmp_path: Path
) -> None:
    """Tokens and logits of every step, alone and in a batch of unequal prompts and pictures."""
    checkpoint = quantized_checkpoint(built, format_, tmp_path / "c")
    state = dequantized(checkpoint, built.checkpoint / "llm")
    before = {name: value.clone() for name, value in built.reference.model.state_dict().items()}
    load_into(built.reference.model, state)
    session = session_of(built, checkpoint, tmp_path / "e")
    try:
        for batch in (1, 2):
            texts, pictures = built.case.texts[:batch], [[p] for p in built.pictures[:batch]]
            tokens, logits = built.expected(texts, pictures)
            answers = session.answer(texts, pictures, max_new_tokens=NEW_TOKENS, keep_logits=True)
            ours = np.stack(answers.generation.logits)
            for row, answer in enumerate(answers.answers):
                assert answer.token_ids == tokens[row]
                difference = np.abs(ours[: len(tokens[row]), row] - logits[row]).max()
                assert difference < TOLERANCE
    finally:
        built.reference.model.load_state_dict(before)


@pytest.mark.parametrize("built", [("llava", "eager")], indirect=True, ids=ids)
def test_weights_lie_packed_beside_the_packages(built: Built, tmp_path: Path) -> None:
    from mmtrt.native.safetensors_file import read_header

    def linear_bytes(engine: Path) -> int:
        tensors = read_header(engine / "weights.safetensors")
        return sum(t.size_bytes for name, t in tensors.items() if ".layers." in name)

    plain = linear_bytes(built.engines / "llm")
    shares = {"int8_wo": 4 / 1.13, "int4_wo": 4 / 0.63, "fp8": 4 / 1.05}
    for format_, least in shares.items():
        checkpoint = quantized_checkpoint(built, format_, tmp_path / format_)
        session_of(built, checkpoint, tmp_path / f"e-{format_}")
        assert plain / linear_bytes(tmp_path / f"e-{format_}/llm") > least * 0.97, format_


@pytest.mark.parametrize("built", [("llava", "eager")], indirect=True, ids=ids)
def test_a_format_without_arithmetic_is_refused(
    built: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from mmtrt.native import build_llm, quantize
    from mmtrt.native.aot_formats import check_format
    from mmtrt.native.component import read_component
    from mmtrt.native.errors import NativeError

    pictures = ROOT / "recipes/assets/pictures"
    for format_, engine in (("int8_sq", "aot_inductor"), ("fp8", "onnxruntime")):
        flags: list[object] = ["--checkpoint-dir", built.checkpoint, "--format", format_]
        flags += ["--output-dir", tmp_path / format_, "--model-dir", built.model_dir]
        built.stage(quantize, *flags, "--calib-dataset", pictures, "--calib-size", 2)
        checkpoint = tmp_path / format_ / "llm"
        limits = ("--max-batch-size", 1, "--max-input-len", 64, "--max-seq-len", 72)
        words = ("--checkpoint-dir", checkpoint, "--output-dir", tmp_path / "e", *limits)
        assert build_llm.main([str(word) for word in (*words, "--engine", engine)]) == 2
        told = capsys.readouterr().err
        assert f"error[QNT205]: {engine} cannot run {format_} weights" in told
        assert not (tmp_path / "e/config.json").exists()
    component = read_component(tmp_path / "fp8/llm", "llm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "get_device_capability", lambda: (8, 6))
        with pytest.raises(NativeError, match=r"compute capability is 8\.6"):
            check_format(component, "cuda")
        patch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
        check_format(component, "cuda")


def test_layers_of_one_input_must_scale_it_alike() -> None:
    from mmtrt.native import aot_ops
    from mmtrt.native.aot_matrix import MergedLinear
    from mmtrt.native.errors import NativeError
    from tests.native_aot.matrices import packed_linear

    one, other = (packed_linear("int4_awq", 8, 64) for _ in range(2))
    with pytest.raises(NativeError) as refused:
        MergedLinear([one, other], dtype=torch.float32, device="cpu")
    assert refused.value.code == "QNT204"
    other.pre_quant_scale = one.pre_quant_scale.clone()
    matrix = MergedLinear([one, other], dtype=torch.float32, device="cpu").matrix
    x = torch.randn(3, 64)
    both = aot_ops.linear(x, matrix)
    halves = [
        aot_ops.linear(x, MergedLinear([each], dtype=torch.float32, device="cpu").matrix)
        for each in (one, other)
    ]
    torch.testing.assert_close(both, torch.cat(halves, -1))


@pytest.mark.slow
@pytest.mark.parametrize("built", [("llava", "eager")], indirect=True, ids=ids)
def test_four_bits_compute_what_onnx_runtime_computes(built: Built, tmp_path: Path) -> None:
    """ONNX Runtime's kernel unpacks in float32, too; the two share nothing but the checkpoint."""
    from mmtrt.native import build_llm
    from mmtrt.native.limits import LlmLimits
    from mmtrt.native.session import EngineSession

    checkpoint = quantized_checkpoint(built, "int4_wo", tmp_path / "c")
    ours = session_of(built, checkpoint, tmp_path / "e").engines
    limits = LlmLimits(
        max_batch_size=2,
        max_input_len=16,
        max_seq_len=32,
        max_num_tokens=32,
        max_multimodal_len=72,
    )
    with pytest.MonkeyPatch.context() as patch:
        from mmtrt.native import onnx_export, session
        from mmtrt.native.ort_graphs import OrtGraphs

        patch.setattr(build_llm, "export_onnx", onnx_export.export_onnx)
        patch.setattr(session, "graphs_of", OrtGraphs)
        build_llm.build_llm(checkpoint, tmp_path / "o/llm", engine="onnxruntime", limits=limits)
        (tmp_path / "o/vision").symlink_to(built.engines / "vision")
        theirs = EngineSession(tmp_path / "o")
        prompts = [[1, 40, 41, 300, 17, 200, 201], [1, 9]]
        found, expected = (
            each.generate(prompts, max_new_tokens=8, keep_logits=True) for each in (ours, theirs)
        )
    assert found.token_ids == expected.token_ids
    for mine, other in zip(found.logits, expected.logits, strict=True):
        np.testing.assert_allclose(mine, other, atol=TOLERANCE, rtol=0)
