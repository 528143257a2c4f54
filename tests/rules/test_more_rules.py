"""Rules about engines, formats, parallel sizes, models, environments and hosts, case by case."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from mmtrt.config.compose import Composer
from mmtrt.config.recipe import resolve
from mmtrt.errors import HostError
from mmtrt.host import Gpu
from mmtrt.plan.build import make_plan
from mmtrt.rules.base import Finding
from mmtrt.rules.check import check_plan
from mmtrt.rules.codes import RULES
from tests.rules.conftest import write_nemo
from tests.worlds import HOST

COMPOSER = Composer()

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 13\n"
ENV = "recipe.stages.env.requirements"
BUILD = "+recipe.stages.build_llm.flags."
JUNK = [
    b"",
    b"[]",
    b"{",
    b"\xff\xfe",
    b"null",
    b"[" * 100_000,
    b'{"text_config": 7, "model_type": "llava", "torch_dtype": {}, "never_seen": [1, {}]}',
    b'{"text_config": {"_name_or_path": ["a"]}, "quantization_config": "?"}',
]


def host_with(sm: int):
    return replace(HOST, gpus=(Gpu(0, "GPU", "GPU-0", sm, 80 << 30),))


def plan_of(words: list[str], host=HOST):
    composed = COMPOSER.compose(words)
    return make_plan(resolve(composed.settings, tuple(words), composed.where), host)


def found(code: str, words: list[str], host=HOST) -> list[Finding]:
    return list(RULES[code].check(plan_of(words, host)))


def mended(words: list[str], fix: str) -> list[str]:
    """Return the command line with a fix in place of what it changes."""
    new = shlex.split(fix, comments=True)
    keys = {word.split("=")[0] for word in new}
    return [word for word in words if word.split("=")[0] not in keys] + new


def asked(line: str) -> list[str]:
    return shlex.split(f"backend=trtllm {line}")


CASES = [
    # code, severity, words
    ("ENG203", "error", "recipe=llava quant=int4_awq quant.dtype=bfloat16"),
    ("ENG203", "error", f"recipe=kosmos2 dtype=auto {BUILD}nccl_plugin=bfloat16"),
    ("ENG203", "error", "recipe=mllama recipe.stages.build_llm.flags.gemm_plugin=float16"),
    (
        "ENG203",
        "error",
        "recipe=blip2 variant=flan_t5_xl "
        "recipe.variants.flan_t5_xl.stages.build_encoder.flags.bert_attention_plugin=float16",
    ),
    ("ENG204", "error", f"recipe=cogvlm {BUILD}kv_cache_type=continuous"),
    ("ENG204", "warning", f"recipe=llava {BUILD}use_fp8_context_fmha=enable"),
    ("ENG204", "warning", f"recipe=mllama quant=fp8 {BUILD}context_fmha=disable"),
    ("ENG204", "warning", f"recipe=llava quant=int4_awq quant.kv_cache_dtype=int8 {BUILD}X=enable"),
    ("ENG204", "warning", f"recipe=llava {BUILD}lora_dir=[/adapter]"),
    ("ENG204", "error", f"recipe=llava {BUILD}lora_plugin=auto {BUILD}lora_dir=[ADAPTER]"),
    ("ENG204", "error", f"recipe=llava_next {BUILD}gemm_swiglu_plugin=fp8 MLP=disable"),
    (
        "ENG204",
        "error",
        f"recipe=llava {BUILD}multiple_profiles=enable {BUILD}opt_num_tokens=8",
    ),
    (
        "ENG204",
        "error",
        f"recipe=llava {BUILD}gather_context_logits=true {BUILD}max_draft_len=4",
    ),
    ("ENG204", "error", f"recipe=llava {BUILD}model_cls_file=x.py"),
    ("ENG204", "error", f"recipe=llava {BUILD}pp_reduce_scatter=enable"),
    ("ENG204", "error", f"recipe=llava {BUILD}opt_num_tokens=9000"),
    ("ENG204", "error", f"recipe=llava max_num_tokens=2048 {BUILD}opt_num_tokens=4096"),
    (
        "ENG204",
        "error",
        "recipe=llava quant=int4_awq '+recipe.stages.quantize.flags={awq_block_size: 7}'",
    ),
    ("EVL102", "error", "recipe=qwen2_vl eval.task=lmms-lab/VQAv2"),
    ("ENG205", "warning", f"recipe=llava {BUILD}max_batch_size=4"),
    ("ENG205", "warning", "recipe=llava '+recipe.stages.run.flags={image_path: [a.png, b.png]}'"),
    ("ENG205", "warning", "recipe=llava '+recipe.stages.convert.flags={use_weight_only: true}'"),
    ("ENG205", "warning", "recipe=llava '+recipe.stages.convert.flags={tp_size: 2}'"),
    ("ENG205", "error", f"recipe=llava {BUILD}output_dir=/engines"),
    ("ENG205", "warning", "recipe=gemma3 +recipe.stages.run.flags.max_tokens=9"),
    ("ENG206", "error", "recipe=llava trtllm.version=1.3.0"),
    ("ENV102", "error", f"recipe=internvl2 '{ENV}=[\"transformers==4.37.2\"]'"),
    ("ENV102", "warning", f"recipe=vila '{ENV}=[\"transformers==4.56.0\"]'"),
    ("ENV102", "warning", f"recipe=vila trtllm.version=1.2.0 '{ENV}=[\"transformers==4.57.3\"]'"),
    (
        "ENV102",
        "warning",
        'recipe=qwen2_vl \'recipe.stages.env.requirements=["{examples}/a.txt","numpy~=2.1.0"]\'',
    ),
    ("PAR103", "error", "recipe=blip2 pp=2"),
    ("PAR103", "error", "recipe=internvl2 variant=4b pp=2"),
    ("PAR103", "warning", "recipe=llava pp=64"),
    ("PAR104", "error", "recipe=llava '+recipe.stages.convert.flags={cp_size: 2}'"),
    ("PAR104", "error", "recipe=llava '+recipe.stages.convert.flags={tp_size: 2}'"),
    ("PAR104", "error", "recipe=llava quant=int4_awq '+recipe.stages.quantize.flags={pp_size: 2}'"),
    ("PAR104", "error", "recipe=llava tp=2 '+recipe.stages.convert.flags={moe_tp_size: 4}'"),
    ("QNT102", "error", "recipe=cogvlm dtype=auto dtype=float16"),
    ("QNT102", "error", "recipe=internvl2 dtype=auto"),
    ("QNT102", "warning", "recipe=mllama dtype=float16"),
    ("QNT102", "warning", "recipe=llava dtype=float32"),
    ("QNT102", "warning", "recipe=llava quant=int4_awq quant.dtype=float32"),
    ("QNT103", "error", "recipe=mllama quant=fp8 target.sm=80"),
    ("QNT103", "error", "recipe=llava quant=int8_wo target.sm=100"),
    ("QNT103", "error", "recipe=llava quant=int4_awq quant.kv_cache_dtype=fp8 target.sm=86"),
    ("QNT104", "error", "recipe=llava quant=int4_awq quant.calib_dataset=wikitext"),
    ("QNT104", "error", "recipe=llava quant=int4_awq quant.calib_dataset=scienceqa"),
    ("QNT104", "error", "recipe=mllama quant=fp8 quant.calib_dataset=pileval"),
    ("QNT104", "error", "recipe=llava quant=int4_awq quant.calib_dataset=calibration"),
    ("QNT104", "warning", "recipe=llava quant=int4_awq quant.calib_size=64"),
    ("QNT105", "warning", "recipe=llava quant=int8_wo quant.calib_size=64"),
    ("QNT105", "warning", "recipe=llava quant=int4_awq quant.block_size=64"),
]

SILENT = [
    ("ENG203", "recipe=mllama quant=fp8"),
    ("ENG203", "recipe=llava dtype=auto"),
    ("ENG203", "recipe=blip2 variant=flan_t5_xl"),
    ("ENG204", "recipe=mllama quant=fp8"),
    ("ENG204", "recipe=internlm_xcomposer2"),
    ("ENG204", f"recipe=cogvlm {BUILD}kv_cache_type=paged"),
    ("ENG206", "recipe=llava trtllm.version=1.3.0rc20"),
    ("ENG206", "recipe=gemma3 trtllm.version=1.3.0"),
    ("ENG206", "recipe=llava trtllm.version=1.3.0 until=download"),
    ("ENV102", f"recipe=internvl2 '{ENV}=[\"transformers==4.37.2\"]' trtllm.version=1.1.0"),
    ("ENV102", f"recipe=internvl2 '{ENV}=[\"transformers==4.37.2; trtllm <1.0\"]'"),
    ("ENV102", f"recipe=vila '{ENV}=[\"transformers==4.57.3\"]'"),
    ("PAR103", "recipe=blip2 variant=flan_t5_xl pp=2"),
    ("PAR103", "recipe=internvl2 variant=4b quant=fp8 pp=2"),
    ("PAR104", "recipe=llava tp=2 '+recipe.stages.convert.flags={moe_tp_size: 2, cp_size: x}'"),
    ("QNT102", "recipe=mllama dtype=auto"),
    ("QNT102", "recipe=llava dtype=auto"),
    ("QNT103", "recipe=llava quant=int8_wo target.sm=120"),
    ("QNT103", "recipe=mllama quant=fp8 target.sm=89"),
    ("QNT104", "recipe=llava quant=int4_awq quant.calib_dataset=/some/cnn_dailymail"),
    ("QNT105", "recipe=llava quant=int8_sq quant.calib_size=64 quant.kv_cache_dtype=int8"),
    ("QNT105", "recipe=llava quant.calib_size=64 until=convert"),
    ("SEC102", "recipe=llava"),
]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Stand in a directory with a calibration set, an adapter and a model's place."""
    monkeypatch.chdir(tmp_path)
    Path("calibration").mkdir()
    Path("adapter").mkdir()
    Path("adapter/adapter_config.json").write_text('{"r": 128, "junk": {}}')
    for name in ("a.png", "b.png"):
        Path(name).write_bytes(b"x")
    return tmp_path


def worded(line: str, here: Path) -> list[str]:
    line = line.replace("ADAPTER", str(here / "adapter")).replace("X=", "use_paged_context_fmha=")
    line = line.replace("MLP=", "recipe.stages.build_llm.flags.use_fused_mlp=")
    return asked(line)


@pytest.mark.parametrize(("code", "severity", "line"), CASES)
def test_flagged_until_the_fix_is_pasted(code, severity, line, here):
    words = worded(line, here)
    findings = found(code, words)
    assert severity in [finding.severity for finding in findings]
    assert all(finding.at for finding in findings)
    for finding in findings:
        words = mended(words, finding.fix)
    assert [finding.render() for finding in found(code, words)] == []


@pytest.mark.parametrize(("code", "line"), SILENT)
def test_not_flagged(code, line, here):
    assert [finding.render() for finding in found(code, worded(line, here))] == []


@pytest.mark.parametrize("code", ["ENG203", "ENG204", "ENG205", "PAR103", "QNT102", "QNT104"])
def test_stand_ins_play_it_and_native_engines_have_other_flags(code, here):
    line = next(line for each, _, line in CASES if each == code)
    assert found(code, ["backend=fake", *worded(line, here)[1:]])
    tiny = ["recipe=llava", "variant=tiny", "backend=native", "quant.calib_dataset=none"]
    assert not found(code, [*tiny, "pp=8", f"{BUILD}max_batch_size=1", f"{BUILD}lora_dir=[/x]"])


def model(place: Path, **files: object) -> Path:
    place.mkdir()
    (place / "config.json").write_text('{"model_type": "llava"}')
    for name, content in files.items():
        path = place / name.replace("__", ".").replace("DASH", "-")
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return place


WHOLE = b"\x02\x00\x00\x00\x00\x00\x00\x00{}"
INDEX = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"model__safetensors": WHOLE}, None),
        ({"model__safetensors__index__json": INDEX, "one__safetensors": WHOLE}, "two.safetensors"),
        ({"model__safetensors__index__json": INDEX}, "one.safetensors, two.safetensors"),
        ({"model__safetensors__index__json": [7], "one__safetensors": WHOLE}, None),
        ({"model__safetensors__index__json": b"{", "one__safetensors": WHOLE}, None),
        ({"model__safetensors": POINTER}, "Git LFS pointers, not files: model.safetensors"),
        ({"model__bin": POINTER}, "only pickled weights: model.bin"),
        ({}, "holds no weights"),
    ],
)
def test_weights_of_a_local_model(files, message, tmp_path):
    place = model(tmp_path / "mine", **files)
    findings = found("MDL104", ["recipe=llava", f"model.path={place}", "backend=trtllm"])
    assert len(findings) == (message is not None)
    if message is not None:
        assert message in findings[0].message
        assert findings[0].severity == "error"


def test_weights_that_git_keeps_for_itself_are_none(tmp_path):
    place = model(tmp_path / "mine", model__safetensors=WHOLE)
    (place / ".git").mkdir()
    (place / ".git" / "x.safetensors").write_bytes(POINTER)
    assert not found("MDL104", ["recipe=llava", f"model.path={place}"])


def test_one_file_that_is_a_pointer(tmp_path):
    (tmp_path / "model.nemo").write_bytes(POINTER)
    (finding,) = found("MDL104", ["recipe=neva", f"model.path={tmp_path / 'model.nemo'}"])
    assert finding.fix == f"git lfs install && git -C {tmp_path} lfs pull"


@pytest.mark.parametrize("content", JUNK)
def test_odd_configuration_is_no_crash(content, tmp_path):
    place = model(tmp_path / "llava-mine", model__safetensors=WHOLE)
    (place / "config.json").write_bytes(content)
    words = ["recipe=llava_next", "variant=mistral_7b", "backend=trtllm"]
    plan = plan_of(words)
    stage = replace(plan["download"].stage, repo_id=None, local_dir=str(place))
    nodes = [replace(n, stage=stage) if n.id == "download" else n for n in plan.nodes]
    changed = replace(plan, nodes=tuple(nodes))
    for code in ("MDL104", "MDL105", "QNT102", "ENG203"):
        assert len(list(RULES[code].check(changed))) <= 1


def test_checkpoint_without_prompt(tmp_path):
    words = ["recipe=llava_next", f"model.path={tmp_path / 'llava'}", "backend=fake"]
    place = model(tmp_path / "llava", model__safetensors=WHOLE)
    known = {"text_config": {"_name_or_path": "mistralai/Mistral-7B-Instruct-v0.2"}}
    (place / "config.json").write_text(json.dumps(known))
    assert not found("MDL105", words)
    known["text_config"]["_name_or_path"] = "lmsys/vicuna-7b-v1.5"
    (place / "config.json").write_text(json.dumps(known))
    (finding,) = found("MDL105", words)
    assert "'lmsys/vicuna-7b-v1.5'" in finding.message
    assert not found("MDL105", mended(words, finding.fix))


def test_the_gpu_of_this_host_counts_where_no_target_is_said():
    words = ["recipe=mllama", "backend=trtllm", "quant=fp8"]
    assert found("QNT103", words, host_with(80))
    assert not found("QNT103", words, host_with(90))
    assert not found("QNT103", [*words, "target.sm=90"], host_with(80))
    assert not found("QNT103", words)


def test_engines_for_another_gpu_stop_a_run_but_not_a_plan():
    words = ["recipe=llava", "backend=trtllm", "target.sm=80"]
    (finding,) = found("HST104", words, host_with(90))
    assert finding.why == "build_vision, build_llm, run would use this host's GPU"
    assert not found("HST104", words, host_with(80))
    assert not found("HST104", words)
    assert not found("HST104", [*words, "until=convert"], host_with(90))
    assert not found("HST104", mended(words, finding.fix), host_with(90))
    with pytest.raises(HostError):
        check_plan(plan_of(words, host_with(90)))


def test_another_tensorrt_llm_than_the_commands_are_for():
    words = ["recipe=llava", "backend=trtllm"]

    def installed(version: str):
        return replace(HOST, versions={"tensorrt-llm": version})

    assert not found("ENG206", words, installed("1.2.1"))
    (finding,) = found("ENG206", words, installed("1.1.0"))
    assert (finding.severity, finding.fix) == ("warning", "trtllm.version=1.1.0")
    (finding,) = found("ENG206", words, installed("1.4.0"))
    assert finding.fix == "pip install tensorrt-llm==1.2.1"


def test_packages_beside_tensorrt_llm():
    versions = {"tensorrt-llm": "1.2.1", "transformers": "4.60.0", "numpy": "1.26.4"}
    host = replace(HOST, versions={**versions, "nvidia-modelopt": "0.37.3"})
    (finding,) = found("ENV102", ["recipe=llava", "backend=trtllm"], host)
    assert finding.fix == "pip install transformers==4.57.3"


def test_requirements_files_are_read_where_they_are(tmp_path):
    file = tmp_path / "models/core/multimodal/requirements-qwen2vl.txt"
    file.parent.mkdir(parents=True)
    file.write_text(
        "-c more.txt\n# transformers==1\nqwen-vl-utils==0.0.8 # 0.0.9 has a bug\n"
        "Transformers[torch] == 4.51.0 ; python_version\n"
    )
    name = "{examples}/models/core/multimodal/requirements-qwen2vl.txt"
    words = ["recipe=qwen2_vl", "backend=trtllm", f"trtllm.examples_dir={tmp_path}"]
    words.append(f'recipe.stages.env.requirements=["{name}"]')
    (finding,) = found("ENV102", words)
    assert finding.message.startswith("stage env installs transformers==4.51.0, ")
    assert finding.severity == "error"
    # What the file has beside it stays.
    assert finding.fix == "'recipe.stages.env.requirements=[\"qwen-vl-utils==0.0.8\"]'"
    file.write_text("transformers>=4.57\nqwen-vl-utils==0.0.8\n")
    assert not found("ENV102", words)


@pytest.mark.parametrize(
    "words",
    [
        f"{BUILD}max_lora_rank=0",
        f"{BUILD}max_beam_width=0",
        f"{BUILD}opt_num_tokens=-1",
        "quant=int4_awq '+recipe.stages.quantize.flags={awq_block_size: 0}'",
        "'+recipe.stages.convert.flags={workers: 0}'",
        "'+recipe.stages.run.flags={num_beams: 0}'",
        "'+recipe.stages.run.flags={cross_kv_cache_fraction: 1.7}'",
    ],
)
def test_numbers_that_a_tool_asserts(words):
    (finding,) = found("ENG201", ["recipe=llava", "backend=trtllm", *shlex.split(words)])
    assert finding.severity == "error" and " must be above 0" in finding.message


def test_the_tower_that_a_nemo_file_names_is_fetched(tmp_path):
    file = tmp_path / "neva.nemo"
    write_nemo(file, "openai/clip-vit-large-patch14-336")
    words = ["recipe=neva", f"model.path={file}"]
    (finding,) = found("ENV104", words)
    assert not found("ENV104", [*words, *finding.fix.split()])
    assert not found("ENV104", [*words, "recipe.stages.build_vision.network=true"])
    write_nemo(file, str(tmp_path))  # a directory of the user's
    assert not found("ENV104", words)
    file.write_bytes(b"\x1f\x8b packed, or no archive at all")
    assert not found("ENV104", words)


def test_stages_that_need_the_network(monkeypatch, tmp_path):
    mine = replace(HOST, lookup=True)
    words = ["recipe=llava", "backend=trtllm", "quant=int4_awq"]
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert not found("ENV103", words, mine)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (finding,) = found("ENV103", words, mine)
    assert finding.severity == "warning"
    assert "download" in finding.message and "quantize" in finding.message
    (finding,) = found("ENV103", [*words, f"quant.calib_dataset={tmp_path}"], mine)
    assert "quantize" not in finding.message
    assert not found("ENV103", ["recipe=llava", "variant=tiny"], mine)
    assert not found("ENV103", words, HOST)
