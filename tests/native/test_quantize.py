from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from safetensors.torch import load_file  # noqa: E402 - needs torch

from mmtrt.native.aot_build import NESTED  # noqa: E402
from mmtrt.native.block_quantization import ACCURACY_LEVEL, BlockQuantizer  # noqa: E402
from mmtrt.native.build_llm import build_llm  # noqa: E402
from mmtrt.native.component import read_component  # noqa: E402
from mmtrt.native.families import family_of  # noqa: E402
from mmtrt.native.limits import LlmLimits  # noqa: E402
from mmtrt.native.quantize import main  # noqa: E402
from mmtrt.native.session import EngineSession  # noqa: E402

FORMATS = {"int8_wo": 8, "int4_wo": 4, "int4_awq": 4}
TEXTS = ("what colour is it?", "name the shape.", "is there a circle on the left?")
LIMITS = LlmLimits(
    max_batch_size=2, max_input_len=16, max_seq_len=24, max_num_tokens=32, max_multimodal_len=18
)


@pytest.fixture(scope="module", params=FORMATS)
def quantized(
    request: pytest.FixtureRequest,
    checkpoint: Path,
    tiny_model: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Path]:
    """The middle layer's inputs (48) are no multiple of the block size 32."""
    output, samples = tmp_path_factory.mktemp("quantized"), tmp_path_factory.mktemp("samples")
    (samples / "texts.txt").write_text("\n".join(TEXTS))
    flags = ["--checkpoint-dir", checkpoint, "--output-dir", output, "--format", request.param]
    flags += ["--block-size", 32, "--model-dir", tiny_model, "--calib-dataset", samples]
    assert main([str(flag) for flag in flags]) == 0
    return request.param, output


def dequantized_state(directory: Path, original: dict[str, Any], bits: int) -> dict[str, Any]:
    """Return the weights that the engine computes with, the scales of inputs taken back."""
    tensors = load_file(directory / "llm/rank0.safetensors")
    quantizer = BlockQuantizer(bits=bits, block_size=32)
    state = {}
    for name, value in original.items():
        if f"{name}_packed" in tensors:
            packed, scale = (tensors[f"{name}_{part}"].numpy() for part in ("packed", "scale"))
            weight = torch.from_numpy(quantizer.unpack(packed, scale, inputs=value.shape[1]))
            undone = tensors.get(name.replace(".weight", ".pre_quant_scale"))
            state[name] = weight if undone is None else weight * undone
        else:
            assert torch.equal(tensors[name], value), name
            state[name] = value
    return state


def test_error_is_bounded_by_the_blocks_own_scale(
    quantized: tuple[str, Path], checkpoint: Path
) -> None:
    format_, output = quantized
    original = load_file(checkpoint / "llm/rank0.safetensors")
    tensors = load_file(output / "llm/rank0.safetensors")
    state = dequantized_state(output, original, FORMATS[format_])
    changed = [name for name in original if not torch.equal(state[name], original[name])]
    assert len(changed) == 2 * 7, "the projections of two layers, no embedding and no head"
    for name in changed:
        scale = tensors[f"{name}_scale"].abs()
        columns = original[name].shape[1]
        each = scale.repeat_interleave(32, dim=1)[:, :columns]
        error = (state[name] - original[name]).abs()
        error = error / tensors.get(name.replace(".weight", ".pre_quant_scale"), 1)
        # Half a step, or a whole one where a value meets the shorter, positive end of the range.
        assert (error <= each * 1.001).all()
        assert (error > each * 0.501).float().mean() < 0.05
    assert {"int8_wo": 0.01, "int4_wo": 0.12, "int4_awq": 0.15}[format_] > relative_error(
        state, original, changed
    )


def relative_error(state: dict[str, Any], original: dict[str, Any], names: list[str]) -> float:
    errors = [(state[name] - original[name]).norm() / original[name].norm() for name in names]
    return float(torch.stack(errors).max())


PROMPT = [1, 40, 41, 300, 17, 200, 201]


def logits_of_both(quantized: tuple[str, Path], checkpoint: Path, vision: Path, out: Path) -> Any:
    """Return the engine's logits ``[steps, V]`` and torch's with the dequantized weights."""
    format_, output = quantized
    build_llm(output / "llm", out / "llm", engine="onnxruntime", limits=LIMITS)
    (out / "vision").symlink_to(vision)
    generation = EngineSession(out).generate([PROMPT], max_new_tokens=6, keep_logits=True)

    model = family_of("llava").language_model(read_component(checkpoint / "llm", "llm"))
    original = load_file(checkpoint / "llm/rank0.safetensors")
    state = dequantized_state(output, original, FORMATS[format_])
    model.load_state_dict({n.replace(NESTED, "model."): v for n, v in state.items()}, assign=True)
    ids = torch.tensor([PROMPT + generation.token_ids[0]])
    with torch.no_grad():
        expected = model(input_ids=ids).logits[0, len(PROMPT) - 1 : -1].numpy()
    return np.concatenate(generation.logits), expected


def test_engine_equals_torch_with_dequantized_weights(
    quantized: tuple[str, Path],
    checkpoint: Path,
    engines: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(ACCURACY_LEVEL, 8, 1)
    logits, expected = logits_of_both(quantized, checkpoint, engines / "vision", tmp_path)
    np.testing.assert_allclose(logits, expected, atol=1e-4, rtol=0)


def test_fast_int8_arithmetic_costs_little(
    quantized: tuple[str, Path], checkpoint: Path, engines: Path, tmp_path: Path
) -> None:
    if quantized[0] != "int8_wo":
        pytest.skip("int4 computes in float32")
    logits, expected = logits_of_both(quantized, checkpoint, engines / "vision", tmp_path)
    error = np.linalg.norm(logits - expected, axis=-1) / np.linalg.norm(expected, axis=-1)
    # The random weights amplify every error; *measured* 0.026 here.
    assert 0 < error.max() < 0.05


def test_the_vision_component_is_passed_on(quantized: tuple[str, Path], checkpoint: Path) -> None:
    _, output = quantized
    for name in ("config.json", "rank0.safetensors"):
        assert (output / "vision" / name).read_bytes() == (
            checkpoint / "vision" / name
        ).read_bytes()


def test_quantizing_twice_is_refused(
    quantized: tuple[str, Path], tmp_path: Path, refused: Callable[..., str]
) -> None:
    format_, output = quantized
    flags = ("--checkpoint-dir", output, "--output-dir", tmp_path, "--format", format_)
    assert f"error[QNT201]: {output}: the weights are {format_} already" in refused(main, *flags)


def test_a_damaged_checkpoint_is_refused_by_the_builder(
    quantized: tuple[str, Path], tmp_path: Path, refused: Callable[..., str]
) -> None:
    from mmtrt.native.build_llm import main as build_main

    shutil.copytree(quantized[1] / "llm", tmp_path / "llm")
    path = tmp_path / "llm/rank0.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    limits = ("--max-batch-size", 1, "--max-input-len", 8, "--max-seq-len", 16)
    flags = ("--checkpoint-dir", tmp_path / "llm", "--output-dir", tmp_path / "e", *limits)
    assert f"error[MDL205]: {path}: not a safetensors file, or cut short" in refused(
        build_main, *flags
    )


def test_a_directory_without_a_checkpoint_is_refused(
    tmp_path: Path, refused: Callable[..., str]
) -> None:
    flags = ("--checkpoint-dir", tmp_path, "--output-dir", tmp_path / "q", "--format", "int8_wo")
    assert "error[ART201]: " in refused(main, *flags)
