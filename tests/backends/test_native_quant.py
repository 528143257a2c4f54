"""How native quantization is planned: flags, calibration sets, which recipes have which format."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmtrt.backends import native_quant
from mmtrt.backends.base import Local
from mmtrt.config.compose import Composer
from mmtrt.config.recipe import resolve
from mmtrt.plan.build import make_plan
from mmtrt.plan.graph import Plan
from mmtrt.plan.render import symbolic
from mmtrt.rules.base import Finding
from mmtrt.rules.codes import RULES
from tests.worlds import HOST, RECIPES

COMPOSER = Composer()

TINY = {
    path.stem: path for path in RECIPES.glob("recipe/*.yaml") if "\n  tiny:\n" in path.read_text()
}
NEVER = ("deplot", "nougat")
"""Encoder and decoder."""


def plan_of(*words: str) -> Plan:
    composed = COMPOSER.compose(words)
    return make_plan(resolve(composed.settings, words, composed.where), HOST)


def found(code: str, *words: str) -> list[Finding]:
    return list(RULES[code].check(plan_of(*words)))


def quantizing(*words: str) -> list[str]:
    command = plan_of("recipe=llava", "variant=tiny", *words)["quantize"].command
    assert command is not None
    return symbolic(command)[2:]


def test_formats_without_calibration_read_no_model() -> None:
    assert quantizing("quant=int8_wo") == [
        *("mmtrt.native.quantize", "--checkpoint-dir", "{in.checkpoint}", "--output-dir", "{out}"),
        *("--format", "int8_wo", "--block-size", "128"),
    ]


def test_calibrated_formats_read_the_model_and_the_shipped_pictures() -> None:
    awq, smooth = (quantizing(f"quant={name}")[5:] for name in native_quant.CALIBRATED)
    calibration = [
        *("--model-dir", "{in.model}", "--calib-dataset", "{local.calib}/pictures"),
        *("--calib-size", "32"),
    ]
    assert awq == ["--format", "int4_awq", "--block-size", "128", *calibration]
    assert smooth == ["--format", "int8_sq", *calibration]


def test_the_contents_of_the_set_enter_the_key(tmp_path: Path) -> None:
    words = ("quant=int4_awq", f"quant.calib_dataset={tmp_path}", "quant.calib_size=5")
    node = plan_of("recipe=llava", "variant=tiny", *words)["quantize"]
    assert node.command is not None
    assert [p for p in node.command.places() if isinstance(p, Local)] == [
        Local("calib", str(tmp_path))
    ]
    assert quantizing(*words)[-1] == "5"


def test_stages_and_planner_agree_about_blocks_and_formats() -> None:
    pytest.importorskip("numpy")
    from mmtrt.native import block_quantization, quantize

    assert block_quantization.DEFAULT_BLOCK_SIZE == native_quant.BLOCK_SIZES
    assert ("none", *quantize.FORMATS) == (*native_quant.FORMATS, native_quant.FLOAT8)
    assert quantize.CALIBRATED == native_quant.CALIBRATED


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("quant", native_quant.FORMATS[1:])
def test_every_model_with_one_decoder_has_every_format(name: str, quant: str) -> None:
    words = (f"recipe={name}", "variant=tiny", f"quant={quant}")
    findings = found("QNT101", *words)
    if name in NEVER:
        assert [each.fix for each in findings] == ["quant=none"]
        return
    assert not findings
    plan = plan_of(*words)
    assert plan["quantize"].command is not None
    assert plan["build_llm"].needs == ("quantize",)


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        ("recipe=mllama variant=tiny quant=fp8", "quant=int8_sq"),
        ("recipe=llava variant=tiny quant=fp8 engine=onnxruntime", "engine=aot_inductor"),
        ("recipe=llava variant=tiny quant=int8_sq engine=aot_inductor", "engine=onnxruntime"),
        ("recipe=llava quant=fp8 backend=trtllm", "quant=int8_sq"),
        ("recipe=blip2 variant=tiny_t5 quant=int4_awq", "quant=none"),
        (
            "recipe=llava variant=tiny quant=int8_sq engine=tensorrt target.sm=89",
            "engine=onnxruntime",
        ),
        ("recipe=gemma3 quant=int4_awq backend=trtllm", "quant=none"),
        ("recipe=llava_next quant=int4_awq backend=trtllm", "quant=int4_wo"),
    ],
)
def test_what_cannot_be_made_is_refused_with_a_way_out(words: str, fix: str) -> None:
    findings = found("QNT101", *words.split())
    assert [each.fix for each in findings] == [fix]
    kept = [word for word in words.split() if word.split("=")[0] != fix.split("=")[0]]
    assert not found("QNT101", *kept, fix)


def test_float8_names_what_computes_in_it() -> None:
    (finding,) = found("QNT101", "recipe=mllama", "variant=tiny", "quant=fp8")
    assert finding.message == "engine=onnxruntime has no quant=fp8"
    assert finding.why.endswith("; backend=trtllm has it, on GPUs that compute in float8")
    (finding,) = found("QNT101", "recipe=llava", "backend=trtllm", "quant=fp8")
    assert finding.message == "llava 7b has no quant=fp8"
    assert finding.why.endswith("; backend=native has it")


@pytest.mark.parametrize("name", ["llava", "llava_next", "llava_onevision", "internvl2"])
def test_float8_needs_neither_blocks_nor_a_set(name: str) -> None:
    plan = plan_of(f"recipe={name}", "variant=tiny", "quant=fp8")
    command = plan["quantize"].command
    assert command is not None
    assert symbolic(command)[-2:] == ["--format", "fp8"]
    assert "torch" in command.tools


def test_a_set_without_samples_is_refused_before_anything_runs(tmp_path: Path) -> None:
    words = ("recipe=llava", "variant=tiny", "quant=int8_sq", f"quant.calib_dataset={tmp_path}")
    (finding,) = found("QNT104", *words)
    assert finding.fix == "quant.calib_dataset=asset://pictures"
    (tmp_path / "texts.txt").write_text("what colour is it?")
    assert not found("QNT104", *words)


def test_calibration_is_counted_as_memory() -> None:
    found = []
    for quant in ("int4_wo", "int4_awq"):
        command = plan_of("recipe=llava", "variant=tiny", f"quant={quant}")["quantize"].command
        assert command is not None
        found.append(command.resources.ram_bytes)
    assert found[0] == 0
    assert found[1] > 400 << 20
