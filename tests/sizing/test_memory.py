"""Sums of memory against what was measured: here, by others, and in published files."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from mmtrt.plan.build import make_plan
from mmtrt.plan.rank_memory import gpu_memory
from mmtrt.sizing import memory
from mmtrt.sizing.weights import stored_weights
from tests.worlds import HOST, RECIPES, ROOT, recipe

TINY = RECIPES / "assets/llava_tiny"
MIB = 1 << 20


def error(predicted: float, measured: float) -> float:
    return predicted / measured - 1


def decoder(hidden: int, layers: int, inner: int, vocab: int, kv: int = 0) -> int:
    """Return the parameters of a Llama; ``kv``: width of keys and values, the model's where 0."""
    attention = 2 * hidden * hidden + 2 * hidden * (kv or hidden)
    return layers * (attention + 3 * hidden * inner + 2 * hidden) + 2 * vocab * hidden + hidden


def write_safetensors(path: Path, tensors: dict[str, tuple[str, list[int]]]) -> int:
    """Write tensors of zeros; return the bytes of the tensors."""
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, shape) in tensors.items():
        count = {"F32": 4, "F16": 2}[dtype]
        for side in shape:
            count *= side
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + count]}
        end += count
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))
    return end


RANDOM = {
    "language_model.model.embed_tokens.weight": ("F16", [320, 32]),
    "language_model.model.layers.0.self_attn.q_proj.weight": ("F16", [32, 32]),
    "language_model.model.layers.0.mlp.down_proj.weight": ("F16", [32, 48]),
    "language_model.model.norm.weight": ("F16", [32]),
    "language_model.lm_head.weight": ("F16", [320, 32]),
    "vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight": ("F16", [64, 32]),
    "multi_modal_projector.linear_1.weight": ("F16", [32, 32]),
}


def test_headers_tell_what_is_what(tmp_path):
    stored = write_safetensors(tmp_path / "model.safetensors", RANDOM)
    found = stored_weights(tmp_path)
    assert found is not None
    assert found.parameters == 2 * 320 * 32 + 32 * 32 + 32 * 48 + 32 + 64 * 32 + 32 * 32
    assert found.stored_bytes == stored == memory.weights_bytes(found.parameters, "float16")
    assert found.encoder == 64 * 32 + 32 * 32
    assert found.linear == 32 * 32 + 32 * 48
    assert found.because == "headers of 1 safetensors file"


def test_shards_are_added_up_and_a_changed_file_is_read_again(tmp_path):
    names = list(RANDOM)
    for part, some in enumerate((names[:3], names[3:])):
        chosen = {name: RANDOM[name] for name in some}
        write_safetensors(tmp_path / f"model-{part}.safetensors", chosen)
    whole = stored_weights(tmp_path)
    assert whole is not None and whole.because == "headers of 2 safetensors files"
    write_safetensors(tmp_path / "model-1.safetensors", {"x": ("F32", [7])})
    changed = stored_weights(tmp_path)
    assert changed is not None and changed.parameters < whole.parameters


@pytest.mark.parametrize(
    "content", [b"", b"x" * 7, b"\xff" * 64, struct.pack("<Q", 2) + b"[]"], ids=repr
)
def test_what_is_no_safetensors_file_gives_no_estimate(content, tmp_path):
    assert stored_weights(tmp_path) is None
    (tmp_path / "model.safetensors").write_bytes(content)
    assert stored_weights(tmp_path) is None
    assert stored_weights(tmp_path / "absent") is None


@pytest.mark.parametrize(
    ("parameters", "dtype", "published_bytes"),
    [
        # llava-hf/llava-1.5-7b-hf on the Hub: 14.13 GB; Llama, CLIP ViT-L/14-336 and projector.
        (decoder(4096, 32, 11008, 32064) + 303_507_456 + 20_979_712, "float16", 14_130_000_000),
        # NVIDIA/TensorRT-LLM issue 548: the float16 engine of Llama-2-13b has 24825 MiB.
        (decoder(5120, 40, 13824, 32000), "float16", 24825 * MIB),
    ],
    ids=["llava-1.5-7b checkpoint", "llama-2-13b engine"],
)
def test_weights_of_published_models(parameters, dtype, published_bytes):
    assert abs(error(memory.weights_bytes(parameters, dtype), published_bytes)) < 0.0005


@pytest.mark.parametrize(
    ("hidden", "inner", "vocab", "allocated_mib"),
    [(1536, 8960, 151936, 921.51), (3584, 18944, 152064, 1298.01)],
    ids=["qwen2-1.5b", "qwen2-7b"],
)
def test_activations_of_published_logs(hidden, inner, vocab, allocated_mib):
    # TensorRT-LLM 0.17 with its defaults, 8192 tokens and 2048 requests, DeepSeek-R1-Distill-Qwen.
    found = memory.activation_bytes(8192, hidden, inner, vocab, 2048, "float16")
    assert abs(error(found, allocated_mib * MIB)) < 0.001


NATIVE = [
    # (linear, others, dtype, quant, bytes of model.onnx): measured, onnxruntime 1.32, CPU
    pytest.param(0, 885_888, "float32", "none", 3_581_611, id="tiny"),
    pytest.param(70_778_880, 25_182_720, "float32", "none", 383_858_426, id="96M float32"),
    pytest.param(70_778_880, 25_182_720, "float16", "none", 191_978_410, id="96M float16"),
    pytest.param(70_778_880, 25_182_720, "float32", "int8_wo", 180_397_162, id="96M int8_wo"),
    pytest.param(70_778_880, 25_182_720, "float32", "int4_wo", 145_007_722, id="96M int4_wo"),
    pytest.param(339_738_624, 50_370_048, "float32", "none", 1_560_535_914, id="390M float32"),
]


@pytest.mark.parametrize(("linear", "others", "dtype", "quant", "measured"), NATIVE)
def test_native_engines_that_were_measured(linear, others, dtype, quant, measured):
    found = memory.quantized_bytes(linear, others, dtype, quant, block_size=32)
    assert -0.011 < error(found, measured) <= 0


def stage(name: str, *words: object) -> None:
    command = [sys.executable, "-m", f"mmtrt.native.{name}", *map(str, words)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)


def test_checkpoint_of_the_shipped_model_is_as_large_as_predicted(tmp_path):
    pytest.importorskip("numpy")
    weights = stored_weights(TINY)
    assert weights is not None and weights.encoder is not None
    stage("convert", "--model-dir", TINY, "--output-dir", tmp_path, "--dtype", "float16")
    for part, parameters in (("llm", weights.language), ("vision", weights.encoder)):
        size = (tmp_path / part / "rank0.safetensors").stat().st_size
        # What a header takes: names and shapes of tens of tensors.
        assert -0.012 < error(memory.weights_bytes(parameters, "float16"), size) <= 0


@pytest.mark.slow
def test_engines_of_the_shipped_model_are_as_large_as_predicted(tmp_path):
    pytest.importorskip("onnxruntime")
    weights = stored_weights(TINY)
    assert weights is not None and weights.encoder is not None
    checkpoint, llm, vision = tmp_path / "c", tmp_path / "llm", tmp_path / "vision"
    stage("convert", "--model-dir", TINY, "--output-dir", checkpoint, "--dtype", "float32")
    limits = "--max-batch-size 1 --max-input-len 96 --max-seq-len 128 --max-multimodal-len 36"
    engine = ("--engine", "onnxruntime", "--output-dir")
    stage("build_llm", "--checkpoint-dir", checkpoint / "llm", *engine, llm, *limits.split())
    stage(
        *("build_vision", "--checkpoint-dir", checkpoint / "vision"),
        *(*engine, vision, "--max-batch-size", 1),
    )
    size = (llm / "model.onnx").stat().st_size
    assert -0.02 < error(memory.weights_bytes(weights.language, "float32"), size) <= 0
    # The last layer of this tower is never computed: LLaVA reads the one before.
    size = (vision / "model.onnx").stat().st_size
    assert 0 < error(memory.weights_bytes(weights.encoder, "float32"), size) < 0.3


def test_ranks_share_weights_and_heads():
    assert memory.weights_bytes(1000, "float16", tp=2, pp=5) == 200
    each = memory.kv_token_bytes(32, 8, 128, "float16")
    assert each == 2 * 32 * 8 * 128 * 2
    assert memory.kv_token_bytes(32, 8, 128, "float16", tp=2) == each // 2
    # With more ranks than heads, each has one.
    assert memory.kv_token_bytes(32, 8, 128, "float16", tp=16) == each // 8
    assert memory.kv_token_bytes(32, 8, 128, "int8", pp=4) == each // 8


@pytest.mark.parametrize(
    ("layers", "heads", "sizes", "most"),
    [
        (61, 8, {"pp": 2}, (31, 8)),  # 31 and 30 layers
        (27, 8, {"pp": 4}, (7, 8)),  # 7, 7, 7 and 6
        (32, 3, {"tp": 2}, (32, 2)),  # TensorRT-LLM: (num_kv_heads + tp_size - 1) // tp_size
        (61, 3, {"tp": 2, "pp": 2}, (31, 2)),
    ],
)
def test_the_fullest_rank_counts_where_shares_are_not_equal(layers, heads, sizes, most):
    found = memory.kv_token_bytes(layers, heads, 128, "float16", **sizes)
    assert found == 2 * most[0] * most[1] * 128 * 2


def test_every_rank_has_the_whole_encoder(tmp_path):
    place = tmp_path / "llava"
    place.mkdir()
    write_safetensors(place / "model.safetensors", RANDOM)
    encoder = 64 * 32 + 32 * 32
    language = 2 * 320 * 32 + 32 * 32 + 32 * 48 + 32
    for tp, pp in ((1, 1), (2, 1), (2, 2)):
        chosen = recipe(backend="trtllm", model__path=str(place), tp=tp, pp=pp)
        held = gpu_memory(make_plan(chosen, HOST))
        assert held is not None
        (weights,) = [part.size_bytes for part in held.parts if part.name == "weights"]
        assert weights == 2 * (language // (tp * pp) + encoder)


def test_cache_grows_with_length_and_requests():
    found = memory.kv_cache_bytes(32, 32, 128, "float16", max_seq_len=2560, max_batch_size=4)
    assert found == 4 * 2560 * 524_288


def test_tables_and_masks_as_upstream_states_them():
    # cogvlm's README: 61440 rows of 4096; Qwen2-VL at --max_batch_size 4 and 16.
    assert memory.prompt_table_bytes(61440, 4096, "bfloat16") == 503_316_480
    assert memory.attention_mask_bytes(4 * 5184) == 859_963_392
    assert memory.attention_mask_bytes(16 * 5184) == 13_759_414_272


def test_quantized_weights():
    assert memory.quantized_bytes(800, 100, "float16", "none") == 1800
    assert memory.quantized_bytes(800, 100, "float16", "int8_wo") == 1000
    assert memory.quantized_bytes(800, 100, "float16", "int4_wo") == 600
    assert memory.quantized_bytes(1280, 0, "float16", "int4_awq") == 640 + 20
    assert memory.quantized_bytes(1280, 0, "float32", "int4_wo", block_size=32) == 640 + 160


def test_a_conversion_holds_as_many_ranks_as_it_works_on():
    assert memory.convert_ram_bytes(1000, 1, 8) == 1000
    assert memory.convert_ram_bytes(1000, 4, 1) == 250
    assert memory.convert_ram_bytes(1000, 4, 8) == 1000
