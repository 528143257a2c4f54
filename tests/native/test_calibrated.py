"""Formats that are calibrated: AWQ and SmoothQuant, beside ONNX Runtime's own arithmetic."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import onnx  # noqa: E402 - needs the native extra
import onnxruntime as ort  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnxruntime.quantization import quant_utils  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from mmtrt.cpu import this_cpu  # noqa: E402
from mmtrt.native import quantize as stage  # noqa: E402
from mmtrt.native.aot_build import NESTED  # noqa: E402
from mmtrt.native.awq import output_error, search_scale  # noqa: E402
from mmtrt.native.block_quantization import BLOCK_SIZES, BlockQuantizer  # noqa: E402
from mmtrt.native.build_llm import build_llm  # noqa: E402
from mmtrt.native.calibrate import calibrate  # noqa: E402
from mmtrt.native.calibration_set import Sample, read_samples  # noqa: E402
from mmtrt.native.component import read_component  # noqa: E402
from mmtrt.native.errors import NativeError  # noqa: E402
from mmtrt.native.families import family_of  # noqa: E402
from mmtrt.native.integer_sums import check_integer_sums, sums_are_exact  # noqa: E402
from mmtrt.native.limits import LlmLimits  # noqa: E402
from mmtrt.native.onnx_export import MODEL_FILE, export_onnx  # noqa: E402
from mmtrt.native.packed_linear import IntegerLinear  # noqa: E402
from mmtrt.native.session import EngineSession  # noqa: E402
from mmtrt.native.smoothquant import round_weight, smoothing_scale  # noqa: E402
from mmtrt.native.weights import load_weights  # noqa: E402
from tests.native.tiny_llava import ROWS, make_image  # noqa: E402

LIMITS = LlmLimits(
    max_batch_size=2, max_input_len=16, max_seq_len=24, max_num_tokens=32, max_multimodal_len=18
)
needs_exact_sums = pytest.mark.skipif(
    not sums_are_exact(this_cpu()), reason="this processor has no VNNI"
)
PROMPT = [1, 40, 41, 300, 17, 200, 201]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One labelled picture, one line with a picture, one text."""
    directory = tmp_path_factory.mktemp("set")
    for seed in (1, 2):
        make_image(directory / f"{seed}.png", seed=seed)
    labels = {"1.png": {"what colour is it?": "red", "name the shape.": "a circle"}}
    (directory / "labels.json").write_text(json.dumps(labels))
    line = {"text": "is there a circle?", "images": "2.png", "answer": "no"}
    (directory / "more.jsonl").write_text(json.dumps(line) + "\n")
    (directory / "texts.txt").write_text("what colour is it?\n\n")
    return directory


@pytest.fixture(scope="module")
def smoothed(
    checkpoint: Path, tiny_model: Path, dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    output = tmp_path_factory.mktemp("smoothed")
    flags = ["--checkpoint-dir", checkpoint, "--output-dir", output, "--format", "int8_sq"]
    flags += ["--model-dir", tiny_model, "--calib-dataset", dataset]
    assert stage.main([str(flag) for flag in flags]) == 0
    return output


def run_graph(nodes: list[Any], weights: dict[str, Any], x: Any = None, opset: int = 21) -> Any:
    """Run nodes that end in ``y`` with ONNX Runtime."""
    inputs = [] if x is None else [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    tensors = [w if isinstance(w, onnx.TensorProto) else None for w in weights.values()]
    made = [
        tensor if tensor is not None else numpy_helper.from_array(value, name)
        for tensor, (name, value) in zip(tensors, weights.items())
    ]
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    graph = helper.make_graph(nodes, "g", inputs, [output], made)
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {} if x is None else {"x": x})[0]


@pytest.mark.parametrize("block_size", [size for size in BLOCK_SIZES if size != 256])
@pytest.mark.parametrize("bits", [4, 8])
def test_blocks_are_what_onnxruntime_makes_of_them(bits: int, block_size: int) -> None:
    weight = np.random.default_rng(bits).normal(size=(24, 144)).astype(np.float32)
    quantizer = BlockQuantizer(bits=bits, block_size=block_size)
    packed, scale = quantizer.pack(weight)
    ours = quantizer.unpack(packed, scale, inputs=144)

    # The operator that defines what blocks mean.
    blocks = packed.shape[1]
    shape, kind = [24, blocks * block_size], [TensorProto.UINT4, TensorProto.UINT8][bits == 8]
    integers = helper.make_tensor("w", kind, shape, packed.tobytes(), raw=True)
    zeros = np.full((24 * blocks * bits) // 8, 0x88 if bits == 4 else 128, dtype=np.uint8)
    zero = helper.make_tensor("z", kind, [24, blocks], zeros.tobytes(), raw=True)
    node = helper.make_node(
        "DequantizeLinear", ["w", "s", "z"], ["y"], axis=1, block_size=block_size
    )
    scales = scale.reshape(24, blocks)
    theirs = run_graph([node], {"w": integers, "s": scales, "z": zero})
    np.testing.assert_array_equal(ours, theirs[:, :144])

    # The operator of the engines, which shows its weight when it multiplies ones.
    node = helper.make_node(
        "MatMulNBits",
        ["x", "w", "s"],
        ["y"],
        domain="com.microsoft",
        K=144,
        N=24,
        bits=bits,
        block_size=block_size,
        accuracy_level=1,
    )
    shown = run_graph([node], {"w": packed, "s": scales}, np.eye(144, dtype=np.float32))
    np.testing.assert_array_equal(ours, shown.T)


def test_int8_weights_are_those_of_onnxruntimes_quantizer() -> None:
    weight = np.random.default_rng(0).normal(size=(12, 40)).astype(np.float32)
    weight[3] = 0
    integers, scale = round_weight(weight)
    assert integers.shape == (40, 12)
    for row, (ours, step) in enumerate(zip(integers.T, scale)):
        if row == 3:
            assert not ours.any()
            continue
        zero, theirs_step, theirs = quant_utils.quantize_data(
            weight[row], quant_utils.QuantType.QInt8.tensor_type, symmetric=True
        )
        assert int(zero) == 0
        np.testing.assert_allclose(step, theirs_step, rtol=1e-6)
        assert np.abs(ours.astype(int) - theirs).max() <= 1
        assert (ours != theirs).mean() < 0.05
    node = helper.make_node("DequantizeLinear", ["w", "s"], ["y"], axis=1)
    theirs = run_graph([node], {"w": integers, "s": scale})
    np.testing.assert_array_equal(integers.astype(np.float32) * scale, theirs)


def outliers(seed: int, rows: int = 64, width: int = 96) -> Any:
    """Return inputs some of whose channels are much larger than the others, as those of LLMs."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(rows, width)).astype(np.float32)
    x[:, draw.permutation(width)[:4]] *= 30
    return x


@pytest.mark.parametrize("seed", range(4))
def test_awq_is_never_worse_than_plain_rounding_and_better_with_outliers(seed: int) -> None:
    draw = np.random.default_rng(seed)
    weights = [draw.normal(size=(n, 96)).astype(np.float32) for n in (32, 16)]
    quantizer = BlockQuantizer(bits=4, block_size=32)
    even = np.sign(draw.normal(size=(64, 96))).astype(np.float32)
    for inputs in (outliers(seed), even):
        found = search_scale(inputs, weights, quantizer)
        assert found.plain_error == output_error(inputs, weights, quantizer, None)
        assert found.error == output_error(inputs, weights, quantizer, found.pre_quant_scale)
        assert found.error <= found.plain_error
    assert found.pre_quant_scale is None, "channels of one size leave nothing to move"
    found = search_scale(outliers(seed), weights, quantizer)
    assert found.error < 0.8 * found.plain_error


def rounded(weight: Any, block: int) -> Any:
    """Return weights after symmetric rounding to 4 bits, as ONNX Runtime's documentation has it.

    Source: MatMulNBits, onnxruntime: of each block, the weight of the largest size becomes -8.
    """
    blocks = weight.reshape(len(weight), -1, block)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(-1)[..., None], -1)
    scale = largest / -8
    return (np.clip(np.round(blocks / scale), -8, 7) * scale).reshape(weight.shape)


@pytest.mark.parametrize(
    ("outlier", "spike", "left"), [(100, 1, 0.05), (8, 1, 0.6), (30, 300, 0.5), (1.2, 1, 1.0)]
)
def test_awq_is_what_its_paper_says(outlier: float, spike: float, left: float) -> None:
    """A few channels are large in every row, as in trained models; others once in a while.

    Source: Lin et al. (arXiv 2306.00978), equations 4 and 5: s = mean(|X|) ** a, for the a that
    makes the layer's output differ least; its published search divides s by sqrt(max * min).
    """
    draw = np.random.default_rng(11)
    inputs = draw.normal(size=(256, 128)).astype(np.float32)
    inputs[:, 5:128:32] *= outlier
    inputs[0, 9:128:32] *= spike
    weight = draw.normal(size=(96, 128)).astype(np.float32)

    def error(scale: Any) -> float:
        change = inputs @ (rounded(weight * scale, 32) / scale - weight).T
        return float(np.square(change).mean())

    size = np.abs(inputs).mean(axis=0)
    scales = {power: size**power for power in np.arange(11) / 10}
    scales = {power: s / np.sqrt(s.max() * s.min()) for power, s in scales.items()}
    best = min(scales, key=lambda power: error(scales[power]))
    found = search_scale(inputs, [weight], BlockQuantizer(bits=4, block_size=32))
    np.testing.assert_allclose(1 / found.pre_quant_scale, scales[best], rtol=1e-5)
    plain = error(np.ones(128))
    assert found.plain_error == pytest.approx(plain, rel=1e-3)
    assert found.error == pytest.approx(error(scales[best]), rel=1e-3)
    assert found.error < left * plain


def test_the_searched_error_is_the_one_of_onnxruntime() -> None:
    inputs = outliers(7)
    weight = np.random.default_rng(7).normal(size=(32, 96)).astype(np.float32)
    quantizer = BlockQuantizer(bits=4, block_size=32)
    found = search_scale(inputs, [weight], quantizer)
    packed, scale = quantizer.pack(weight / found.pre_quant_scale)
    node = helper.make_node(
        "MatMulNBits",
        ["x", "w", "s"],
        ["y"],
        domain="com.microsoft",
        K=96,
        N=32,
        bits=4,
        block_size=32,
        accuracy_level=1,
    )
    scales = scale.reshape(32, -1)
    outputs = run_graph([node], {"w": packed, "s": scales}, inputs * found.pre_quant_scale)
    error = np.square(outputs - inputs @ weight.T, dtype=np.float64).mean()
    assert error == pytest.approx(found.error, rel=1e-4)


def test_smoothing_brings_channels_to_the_size_of_their_weights() -> None:
    weight = np.random.default_rng(3).normal(size=(32, 96)).astype(np.float32)
    largest = np.abs(outliers(3)).max(axis=0)
    scale = smoothing_scale(largest, [weight])
    # Equation 4 with alpha = 0.5: afterwards both are equally large.
    after = np.abs(weight / scale).max(axis=0)
    np.testing.assert_allclose(largest * scale, after, rtol=1e-5)


def test_samples_are_read_in_order_and_spread(dataset: Path) -> None:
    everything = read_samples(dataset, 99)
    assert [(each.text, each.answer, len(each.images)) for each in everything] == [
        ("name the shape.", "a circle", 1),
        ("what colour is it?", "red", 1),
        ("is there a circle?", "no", 1),
        ("what colour is it?", "", 0),
    ]
    assert read_samples(dataset, 2) == [everything[0], everything[2]]


def test_inputs_are_those_of_transformers(
    checkpoint: Path, tiny_model: Path, dataset: Path
) -> None:
    """The groups, and the rows of the first layer, beside a run of the whole model."""
    import transformers as tf
    from PIL import Image

    modules = family_of("llava").linear_modules(load_file(checkpoint / "llm/rank0.safetensors"))
    sample = Sample(text="name the shape.", answer="red", images=(dataset / "1.png",))
    groups = calibrate(checkpoint, tiny_model, [sample], modules)
    names = [[module.rpartition(".")[2] for module in group.modules] for group in groups]
    assert (
        names
        == [["q_proj", "k_proj", "v_proj"], ["o_proj"], ["gate_proj", "up_proj"], ["down_proj"]] * 2
    )

    model = tf.LlavaForConditionalGeneration.from_pretrained(tiny_model).eval()
    seen: dict[str, Any] = {}
    for name, module in model.model.language_model.named_modules():
        if name.endswith(("q_proj", "down_proj")):
            module.register_forward_pre_hook(
                lambda _, given, name=name: seen.__setitem__(name, given[0][0].numpy())
            )
    processor = tf.AutoProcessor.from_pretrained(tiny_model)
    text = "USER: <image>\nname the shape. ASSISTANT: red"
    with torch.no_grad():
        model(**processor(images=Image.open(dataset / "1.png"), text=text, return_tensors="pt"))
    for group, name in (
        (groups[0], "layers.0.self_attn.q_proj"),
        (groups[7], "layers.1.mlp.down_proj"),
    ):
        assert len(group.kept()) == len(seen[name]) > ROWS
        np.testing.assert_allclose(group.kept(), seen[name], atol=1e-4, rtol=0)
        np.testing.assert_allclose(group.largest, np.abs(seen[name]).max(axis=0), atol=1e-4)


def test_smoothing_alone_leaves_the_logits(smoothed: Path, checkpoint: Path) -> None:
    scales = {
        name.removesuffix(".pre_quant_scale").replace(NESTED, "model."): value
        for name, value in load_file(smoothed / "llm/rank0.safetensors").items()
        if name.endswith(".pre_quant_scale")
    }
    assert len(scales) == 14
    component = read_component(checkpoint / "llm", "llm")
    ids = torch.tensor([PROMPT])
    logits = []
    for is_smoothed in (False, True):
        model = family_of("llava").language_model(component)
        load_weights(model, checkpoint / "llm", inner=NESTED)
        for path, scale in scales.items() if is_smoothed else ():
            module = model.get_submodule(path)
            module.weight = torch.nn.Parameter(module.weight / scale)
            module.register_forward_pre_hook(lambda _, given, scale=scale: (given[0] * scale,))
        with torch.no_grad():
            logits.append(model(input_ids=ids).logits)
    assert max(scale.max() / scale.min() for scale in scales.values()) > 2
    torch.testing.assert_close(*logits, atol=1e-4, rtol=0)


@needs_exact_sums
def test_integer_layers_compute_what_their_integers_say(tmp_path: Path) -> None:
    draw = np.random.default_rng(5)
    weight, x = (draw.normal(size=shape).astype(np.float32) for shape in ((24, 96), (2, 5, 96)))
    x[1, 2] = 0
    scale = (draw.random(96) + 0.5).astype(np.float32)
    integers, step = round_weight(weight / scale)
    linear = torch.nn.Linear(96, 24)
    layer = IntegerLinear(linear, is_scaled=True)
    layer.weight_packed, layer.weight_scale = map(torch.from_numpy, (integers, step))
    layer.pre_quant_scale = torch.from_numpy(scale)
    layer.requires_grad_(False)
    sides = ({0: torch.export.Dim("b"), 1: torch.export.Dim("s")},)
    export_onnx(
        *(layer, (torch.from_numpy(x),), sides),
        input_names=["x"],
        output_names=["y"],
        output_dir=tmp_path,
        weight_dtype="float32",
    )
    session = ort.InferenceSession(tmp_path / MODEL_FILE, providers=["CPUExecutionProvider"])
    outputs = session.run(None, {"x": x})[0]

    scaled = x * scale
    token = np.abs(scaled).max(axis=-1, keepdims=True).clip(1e-12) / 127
    rounded = np.rint(scaled / token).astype(np.int64)
    expected = rounded @ integers.astype(np.int64) * token * step + linear.bias.numpy()
    np.testing.assert_allclose(outputs, expected, atol=1e-4, rtol=1e-5)
    alone = session.run(None, {"x": x[1:, 1:2]})[0]
    np.testing.assert_array_equal(alone, outputs[1:, 1:2], "a token depends on no other")


@pytest.mark.slow
@needs_exact_sums
def test_smoothed_engine_is_close(
    smoothed: Path, engines: Path, tiny_model: Path, tmp_path: Path
) -> None:
    build_llm(smoothed / "llm", tmp_path / "llm", engine="onnxruntime", limits=LIMITS)
    config = json.loads((tmp_path / "llm/config.json").read_text())
    assert config["quantization"] == {
        "format": "int8_sq", "bits": 8, "block_size": 0, "accuracy_level": None
    }  # fmt: skip
    (tmp_path / "vision").symlink_to(engines / "vision")
    first, second = (EngineSession(each).prefill([PROMPT])[0] for each in (engines, tmp_path))
    error = np.linalg.norm(first - second) / np.linalg.norm(first)
    # The random weights amplify every error.
    assert 0 < error < 0.1


@pytest.mark.parametrize(
    ("cpu", "is_refused"),
    [
        ("x86_64-v3", True),
        ("x86_64-v4 gfni", True),
        ("x86_64-v4 avx512_vnni", False),
        ("x86_64-v3 avx_vnni gfni", False),
        ("aarch64 asimddp", False),
        ("x86_64-v1", False),
    ],
)
def test_processors_that_cut_sums_off_are_refused(cpu: str, is_refused: bool) -> None:
    check_integer_sums(Path("llm"), "int8_wo", cpu)
    check_integer_sums(Path("llm"), None, cpu)
    if not is_refused:
        check_integer_sums(Path("llm"), "int8_sq", cpu)
        return
    with pytest.raises(NativeError, match="needs a processor with VNNI"):
        check_integer_sums(Path("llm"), "int8_sq", cpu)


def flags_of(checkpoint: Path, output: Path, *more: object) -> tuple[object, ...]:
    return ("--checkpoint-dir", checkpoint, "--output-dir", output, "--format", "int4_awq", *more)


def test_calibration_needs_a_set(
    checkpoint: Path, tiny_model: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    flags = flags_of(checkpoint, tmp_path / "q")
    assert "error[QNT202]: int4_awq needs a calibration set" in refused(stage.main, *flags)
    model = ("--model-dir", tiny_model, "--calib-dataset")
    absent = refused(stage.main, *flags, *model, tmp_path / "absent")
    assert f"error[QNT202]: {tmp_path / 'absent'}: no such directory" in absent
    (tmp_path / "set").mkdir()
    told = refused(stage.main, *flags, *model, tmp_path / "set")
    assert "holds no calibration samples" in told
    (tmp_path / "set/a.jsonl").write_text('{"words": 1}\n')
    told = refused(stage.main, *flags, *model, tmp_path / "set")
    assert "a.jsonl: not a calibration set: line 1" in told
    assert not (tmp_path / "q").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    ["llava_next", "qwen2_vl", "llava_onevision", "internvl2", "gemma3", "kosmos2", "fuyu"]
    + ["blip2", "mllama", "phi4_multimodal"],
)
def test_every_family_with_one_decoder_is_calibrated(model: str, tmp_path: Path) -> None:
    """Each AWQ engine is built, and its graph multiplies every input that has a scale."""
    from mmtrt.native.convert import convert
    from mmtrt.native.make_tiny import make_tiny
    from mmtrt.native.quantize import CALIBRATED, Calibration, quantize

    make_tiny(model, tmp_path / "model", 0)
    convert(tmp_path / "model", tmp_path / "c", "auto")
    pictures = Path(__file__).parents[2] / "recipes/assets/pictures"
    calibration = Calibration(model_dir=tmp_path / "model", dataset_dir=pictures, size=3)
    for format_ in CALIBRATED:
        output = tmp_path / format_
        quantize(tmp_path / "c", output, format_=format_, calibration=calibration)
        packed = read_component(output / "llm", "llm").quantization
        assert packed is not None
        assert set(packed.scaled) <= set(packed.modules)
        assert len(packed.scaled) == len(packed.modules) or format_ == "int4_awq"
        build_llm(output / "llm", tmp_path / "e" / format_, engine="onnxruntime", limits=LIMITS)
        graph = onnx.load(tmp_path / "e" / format_ / "model.onnx").graph
        kind = "MatMulNBits" if format_ == "int4_awq" else "MatMulInteger"
        assert sum(node.op_type == kind for node in graph.node) == len(packed.modules)
