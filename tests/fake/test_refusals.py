"""What the stand-ins refuse: exit status and message, tool by tool."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.fake.conftest import Workshop
from tests.fake.readme import BF16, LLAVA, SCENARIOS
from tests.rules.conftest import write_nemo

HF = "tmp/hf_models"
LLAMA = f"python ../llama/convert_checkpoint.py --model_dir {HF}/llava-1.5-7b-hf"


def model(workshop: Workshop, name: str) -> str:
    """Write the model of a scenario; return its directory."""
    workshop.set_up(SCENARIOS[name])
    return f"{HF}/{SCENARIOS[name].model}"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("python run.py --foo", "run.py: error: unrecognized arguments: --foo"),
        ("python run.py --batch_size two", "argument --batch_size: invalid int value: 'two'"),
        ("python run.py --session cuda", "argument --session: invalid choice: 'cuda'"),
        ("python run.py --engine_dir", "argument --engine_dir: expected one argument"),
        ("trtllm-build --tp_size 2", "trtllm-build: error: unrecognized arguments: --tp_size 2"),
        ("trtllm-build --use_fused_mlp --max_batch_size 1", "--use_fused_mlp: expected one"),
        ("python ../enc_dec/convert_checkpoint.py", "required: --model_dir/-i, --output_dir/-o"),
        ("python ../../../quantization/quantize.py --qformat fp4", "invalid choice: 'fp4'"),
        (
            "python ../../../quantization/quantize.py --kv_cache_dtype fp16",
            "argument --kv_cache_dtype: invalid choice: 'fp16'",
        ),
        ("python build_multimodal_engine.py --model_type clip", "invalid choice: 'clip'"),
        ("python eval.py --eval_task lmms-lab/other", "invalid choice: 'lmms-lab/other'"),
        ("trtllm-serve", "Usage: trtllm-serve serve [OPTIONS] MODEL"),
        ("trtllm-serve m --foo", "Error: No such option: --foo"),
        ("trtllm-serve m --port x", "Error: Invalid value for '--port': 'x' is not a valid int"),
        ("trtllm-serve m --backend onnx", "'onnx' is not one of 'pytorch', 'tensorrt'"),
        ("trtllm-serve m n", "Error: Got unexpected extra argument (n)"),
        ("trtllm-serve m --port", "Error: Option '--port' requires an argument."),
        ("mpirun -n two true", "invalid int value: 'two'"),
        ("frobnicate", "no stand-in for 'frobnicate'"),
    ],
)
def test_wrong_words(workshop: Workshop, line: str, message: str) -> None:
    workshop.settings()
    assert message in workshop.refused(line, 2)


def test_settings_that_cannot_be_read(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop.settings(colour="red")
    assert "MMTRT_FAKE cannot be read" in workshop.refused("trtllm-build --checkpoint_dir c", 2)


def test_old_tables_know_old_flags(workshop: Workshop) -> None:
    workshop.settings(version="1.1.0")
    assert "No such option: --revision" in workshop.refused("trtllm-serve m --revision x", 2)


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("llava", "{llama} --model_dir nowhere", "does not appear to have a file named config"),
        ("llava", "{qwen} --model_dir {m}", "Unrecognized model for core/qwen"),
        ("qwen2_vl", "{llama} --model_dir {m}", "Unrecognized model for core/llama"),
        ("internvl2_2b", "{qwen} --model_dir {m}", "with a InternLM2ForCausalLM"),
        ("llava", "{llama} --model_dir {m} --tp_size 3", "num_attention_heads 32 is not divis"),
        ("qwen2_vl", "{qwen} --model_dir {m} --tp_size 7", "num_key_value_heads 4 and tp_size 7"),
        ("llava", "{llama} --model_dir {m} --smoothquant 0.5", "SmoothQuant does not support"),
        (
            "llava",
            "{llama} --model_dir {m} --tp_size 2 --moe_tp_size 2 --moe_ep_size 2",
            "tp_size must equal to moe_tp_size * moe_ep_size",
        ),
        ("phi3_vision", "{phi} --model_dir {m} --pp_size 2", "Pipeline parallelism"),
        ("phi3_vision", "{phi} --model_dir {m} --pp_size 2", "AssertionError"),
        ("blip2_opt", "{opt} --model_dir {m}", "read with --model_type opt"),
        ("blip2_opt", "{opt} --model_dir {m} --model_type blip2 --pp_size 2", "AssertionError"),
        ("blip2_t5", "{opt} --model_dir {m} --model_type blip2", "T5ForConditionalGeneration"),
        ("blip2_opt", "{t5} --model_dir {m} --output_dir o --model_type blip2", "only the T5"),
        ("blip2_t5", "{t5} --model_dir {m} --output_dir o --model_type t5", "no attribute 'enc"),
        (
            "blip2_t5",
            "{t5} --model_dir {m} --output_dir o --model_type blip2 --use_weight_only",
            "NotImplementedError",
        ),
        ("nougat", "{t5} --model_dir {m} --output_dir o --model_type bart", "no attribute 'd_mo"),
        ("cogvlm", "{cogvlm} --model_dir {m} --dtype float16", "only supports bfloat16"),
        ("fuyu", "{gpt} --model_dir {m}", "gpt_variant None cannot read a fuyu model"),
        ("kosmos2", "{gpt} --model_dir {m} --gpt_variant gpt2", "use kosmos-2"),
        ("neva", "{gpt} --nemo_ckpt_path no.nemo", "No such file or directory: 'no.nemo'"),
        ("neva", "{gpt} --nemo_ckpt_path neva.nemo --nemo_rename_key ab", "not enough values"),
        ("llava", "{quantize} --qformat fp8", "One of source checkpoint (model_dir, nemo_ckpt"),
        ("llava", "{quantize} --model_dir {m} --qformat fp8 --calib_dataset c4", "Unsupported d"),
        ("llava", "{quantize} --model_dir {m} --tp_size 3", "is not divisible by tp_size 3"),
        ("llava_next", "{quantize} --model_dir {m} --qformat fp8", "AutoModelForCausalLM"),
        ("mllama", "{quantize} --model_dir {m} --qformat fp8", "'batch_encode_plus'"),
        (
            "llava",
            "{quantize} --model_dir {m} --qformat fp8 --calib_dataset scienceqa",
            "'preprocess_function'",
        ),
        ("neva", "{quantize} --nemo_ckpt_path neva.nemo --dtype float32", "Unsupported dtype"),
        *(
            ("llava", f"{{quantize}} --model_dir {{m}} --qformat int4_awq {flag}", message)
            for flag, message in (
                ("--awq_block_size 7", "no whole blocks of awq_block_size 7"),
                ("--awq_block_size 0", "awq_block_size is 0, not above 0"),
                ("--calib_size 0", "calib_size is 0, not above 0"),
                ("--calib_size -3", "calib_size is -3, not above 0"),
                ("--tp_size 0", "tp_size is 0, not above 0"),
            )
        ),
        ("llava", "{llama} --model_dir {m} --tp_size 0", "tp_size is 0, not above 0"),
        ("nougat", "{t5} --model_dir {m} --output_dir o --pp_size -1", "pp_size is -1, not above"),
        ("llava", "{vision} --model_path {m}", "argument of type 'NoneType' is not iterable"),
        ("llava", "{vision} --model_type llava", "'NoneType' object has no attribute 'split'"),
        ("llava_next", "{vision} --model_path {m} --model_type llava", "of type llava_next to"),
        (
            "llava",
            "{vision} --model_path {m} --model_type llava --max_batch_size 0",
            "size is 0, not",
        ),
        ("vila", "{vision} --model_path {m} --model_type vila", "provide VILA source code path"),
        (
            "vila",
            "{vision} --model_path {m} --model_type vila --vila_path nowhere",
            "No module named 'llava'",
        ),
        ("cogvlm", "{vision} --model_path {m} --model_type cogvlm", "to ONNX opset version 17"),
        ("llava", "{vision} --model_path {m} --model_type pixtral", "Invalid model type pixtral"),
        ("qwen2_vl", "{vision} --model_path {m} --model_type qwen2_vl --max_hw_dims 0", "max_hw"),
        ("neva", "{vision} --model_path no.nemo --model_type neva", "No such file"),
    ],
)
def test_conversion_and_vision(workshop: Workshop, name: str, line: str, message: str) -> None:
    place = model(workshop, name)
    scripts = {
        "opt": "python ../../contrib/opt/convert_checkpoint.py",
        "cogvlm": "python ../../contrib/cogvlm/convert_checkpoint.py",
        "t5": "python ../enc_dec/convert_checkpoint.py",
        "quantize": "python ../../../quantization/quantize.py",
        "vision": "python build_multimodal_engine.py",
        **{n: f"python ../{n}/convert_checkpoint.py" for n in ("llama", "qwen", "phi", "gpt")},
    }
    assert message in workshop.refused(line.format(m=place, **scripts))


def test_names_in_paths(workshop: Workshop) -> None:
    model(workshop, "llava")
    Path(HF, "llava-1.5-7b-hf").rename("abc")
    script = "python ../llama/convert_checkpoint.py"
    assert "'llava' is in the path" in workshop.refused(f"{script} --model_dir abc")
    place = model(workshop, "vila")
    Path(HF, "VILA").rename("moved")
    assert "No module named 'llava'" in workshop.refused(f"{script} --model_dir {place}")


def test_pointer_files_instead_of_weights(workshop: Workshop) -> None:
    place = model(workshop, "llava")
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    Path(place, "model.safetensors").write_bytes(pointer)
    assert "HeaderTooLarge" in workshop.refused(LLAMA)


def test_precision_without_weight_only_has_no_effect(workshop: Workshop) -> None:
    model(workshop, "llava")
    for flags, algorithm in (
        ("--weight_only_precision int4", "null"),
        ("--weight_only_precision int4 --use_weight_only", '"W4A16"'),
        ("--use_weight_only", '"W8A16"'),
        ("--weight_only_precision int4_gptq", '"W4A16_GPTQ"'),
    ):
        workshop.ok(f"{LLAMA} --output_dir out {flags}")
        assert f'"quant_algo": {algorithm}' in Path("out/config.json").read_text()


def test_llama_without_model_writes_only_a_config(workshop: Workshop) -> None:
    workshop.settings()
    workshop.ok("python ../llama/convert_checkpoint.py --output_dir out")
    assert [path.name for path in Path("out").iterdir()] == ["config.json"]


def test_heads_are_duplicated(workshop: Workshop) -> None:
    facts = LLAVA | {"num_key_value_heads": 4}
    model(workshop, "llava")
    workshop.settings(family="llava", facts=facts)
    workshop.ok(f"{LLAMA} --output_dir out --tp_size 8")
    assert len(list(Path("out").glob("rank*.safetensors"))) == 8


HEADER = struct.pack("<Q", 2) + b"{}"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("model.safetensors", None, "no file named model.safetensors"),
        ("model.safetensors", b"garbage, and no header at all", "HeaderTooLarge"),
        ("model.safetensors", b"short", "HeaderTooSmall"),
        ("model.safetensors", struct.pack("<Q", 99) + b"{}", "InvalidHeaderLength"),
        ("model.safetensors", struct.pack("<Q", 2) + b"no", "InvalidHeaderDeserialization"),
        ("model.safetensors", HEADER + b"too much", "MetadataIncompleteBuffer"),
        ("config.json", b"{not json", "JSONDecodeError"),
        (
            "model.safetensors.index.json",
            b'{"weight_map": {"a": "model-00002-of-00002.safetensors"}}',
            "file named model-00002-of-00002.safetensors",
        ),
    ],
)
def test_broken_model_directories(
    workshop: Workshop, file: str, content: bytes | None, message: str
) -> None:
    place = model(workshop, "llava")
    path = workshop.directory / place / file
    path.unlink() if content is None else path.write_bytes(content)
    for line in (
        f"python ../llama/convert_checkpoint.py --model_dir {place}",
        f"python ../../../quantization/quantize.py --model_dir {place} --qformat fp8",
        f"python build_multimodal_engine.py --model_path {place} --model_type llava",
    ):
        assert message in workshop.refused(line)


def test_what_is_asked_of_the_hub_is_in_its_cache_or_fetched(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = SCENARIOS["neva"].facts
    line = "python build_multimodal_engine.py --model_path {} --model_type neva"
    workshop.settings(family="neva", facts=facts, network=False)
    (workshop.directory / "plain.nemo").write_bytes(b"no archive")
    write_nemo(workshop.directory / "clip.nemo", "openai/clip-vit-large-patch14")
    fetched = "--repo-id google/siglip-so400m-patch14-384 --revision abc --hub-cache"
    workshop.ok(f"download --output-dir hub {fetched}")
    missing = "couldn't find them in the cached files: openai/clip-vit-large-patch14"
    assert "in the cached files: google/siglip" in workshop.refused(line.format("plain.nemo"))
    monkeypatch.setenv("HF_HUB_CACHE", "hub")
    workshop.ok(line.format("plain.nemo"))
    assert missing in workshop.refused(line.format("clip.nemo"))
    workshop.settings(family="neva", facts=facts)
    workshop.ok(line.format("clip.nemo"))


def test_awq_samples_are_cut(workshop: Workshop) -> None:
    place = model(workshop, "llava")
    said = workshop.ok(
        f"python ../../../quantization/quantize.py --model_dir {place} --qformat int4_awq"
    )
    assert "calib_size = 512, Using calib_size=32 instead" in said
    assert '"group_size": 128' in Path("exported_model/config.json").read_text()


def test_no_gpu(workshop: Workshop) -> None:
    place = model(workshop, "llava")
    workshop.ok(f"{LLAMA} --output_dir ck")
    workshop.settings(gpus=0)
    for line, message in (
        (f"python ../../../quantization/quantize.py --model_dir {place}", "No CUDA GPUs"),
        ("trtllm-build --checkpoint_dir ck", "max_workers must be greater than 0"),
        (
            f"python build_multimodal_engine.py --model_path {place} --model_type llava",
            "No CUDA GPUs",
        ),
        ("python run.py --engine_dir e", "integer modulo by zero"),
    ):
        assert message in workshop.refused(line)


def test_side_files_of_xcomposer2(workshop: Workshop) -> None:
    lines = workshop.build("internlm_xcomposer2", until=2)
    assert Path("adapter_model.bin").is_file() and Path("model.cache").is_file()
    Path("adapter_model.bin").unlink()
    assert "No such file or directory: 'adapter_model.bin'" in workshop.refused(lines[1])
    Path("adapter_config.json").unlink()
    assert "'adapter_config.json'" in workshop.refused(lines[1])


def test_published_dtype(workshop: Workshop) -> None:
    place = model(workshop, "qwen2_vl")
    workshop.ok(f"python ../qwen/convert_checkpoint.py --model_dir {place} --output_dir out")
    assert '"dtype": "bfloat16"' in Path("out/config.json").read_text()
    assert SCENARIOS["qwen2_vl"].facts["dtype"] == BF16["dtype"]
