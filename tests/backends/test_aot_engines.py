from __future__ import annotations

import dataclasses
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmtrt.artifacts.store import Store
from mmtrt.backends.base import symbol
from mmtrt.errors import PlanError
from mmtrt.host import Gpu, HostInfo
from mmtrt.plan.assess import assess
from mmtrt.plan.build import make_plan
from mmtrt.plan.graph import Node, Plan
from mmtrt.plan.keys import key_document
from mmtrt.report.plan_view import heading, plan_json
from mmtrt.rules.check import find
from tests.worlds import HOST, RECIPES, recipe

CPU = dataclasses.replace(HOST, cpu="x86_64-v3", cxx="/usr/bin/g++")
GPU = dataclasses.replace(
    CPU, gpus=(Gpu(0, "NVIDIA H200", "GPU-0", 90, 141 << 30),), torch_cuda="13.0"
)


def plan(host: HostInfo, name: str = "llava", **changes: Any) -> Plan:
    return make_plan(recipe(name, **{"variant": "tiny", "engine": "aot_inductor", **changes}), host)


def node(made: Plan, name: str) -> Node:
    return next(node for node in made.nodes if node.id == name)


def words(made: Plan, name: str) -> list[str]:
    command = node(made, name).command
    assert command is not None
    return [symbol(word) for word in command.argv]


def after(found: list[str], flag: str) -> str:
    return found[found.index(flag) + 1]


def key_of(made: Plan, name: str) -> dict[str, Any]:
    found = node(made, name)
    assert found.command is not None
    digests = {place.symbol(): "d" for place in found.command.places()}
    return key_document(found, made.choice, digests)


@pytest.mark.parametrize(("host", "device", "gpus"), [(CPU, "cpu", 0), (GPU, "cuda", 1)])
def test_the_language_model_is_compiled_for_what_is_here(
    host: HostInfo, device: str, gpus: int
) -> None:
    made = plan(host)
    found = words(made, "build_llm")
    assert (after(found, "--engine"), after(found, "--device")) == ("aot_inductor", device)
    assert after(found, "--dtype") == "float32"
    command = node(made, "build_llm").command
    assert command is not None
    assert command.outputs["engine"] == "aot.json"
    for name in ("build_llm", "run"):
        command = node(made, name).command
        assert command is not None
        assert command.resources.gpus == gpus


def test_a_build_holds_one_copy_of_the_weights() -> None:
    """In float16 as the recipe says, not in float32 as an export traces them."""
    ram = {}
    for engine in ("aot_inductor", "onnxruntime"):
        command = node(
            plan(CPU, variant="7b", backend="native", engine=engine), "build_llm"
        ).command
        assert command is not None
        ram[engine] = command.resources.ram_bytes
    assert 14e9 < ram["aot_inductor"] < 15e9
    assert ram["onnxruntime"] > 2 * ram["aot_inductor"]


def test_pictures_stay_with_onnx_runtime_without_a_gpu() -> None:
    found = words(plan(CPU), "build_vision")
    assert after(found, "--engine") == "onnxruntime"
    assert "--device" not in found
    found = words(plan(GPU, dtype="bfloat16"), "build_vision")
    assert (after(found, "--engine"), after(found, "--dtype")) == ("aot_inductor", "bfloat16")


def test_a_gpu_that_pytorch_cannot_use_is_not_taken() -> None:
    made = plan(dataclasses.replace(GPU, torch_cuda=None))
    assert after(words(made, "build_llm"), "--device") == "cpu"
    assert made.choice.backend.toolchain()["version"] == "torch 1.0 for this processor"


@pytest.mark.parametrize(
    "changed",
    [
        dataclasses.replace(GPU, cpu="x86_64-v4"),
        dataclasses.replace(GPU, versions={**GPU.versions, "torch": "1.0.1"}),
        dataclasses.replace(GPU, gpus=(dataclasses.replace(GPU.gpus[0], sm=89),)),
        CPU,
    ],
    ids=["processor", "torch", "gpu", "no gpu"],
)
def test_what_code_depends_on_is_in_the_key_of_engines_alone(changed: HostInfo) -> None:
    ours, theirs = plan(GPU), plan(changed)
    assert key_of(ours, "build_llm")["gpu"] == {"sm": 90, "cpu": "x86_64-v3", "torch": "1.0"}
    assert key_of(ours, "build_llm") != key_of(theirs, "build_llm")
    assert "gpu" not in key_of(ours, "convert")


@pytest.mark.parametrize("name", ["gemma3", "blip2", "mllama", "phi4_multimodal"])
def test_a_family_without_a_graph_is_refused_by_the_plan(name: str) -> None:
    with pytest.raises(PlanError) as refused:
        plan(CPU, name)
    assert (refused.value.code, refused.value.fix) == ("ENG106", "engine=onnxruntime")


def test_packed_weights_become_packages_but_products_of_integers_do_not() -> None:
    for quant in ("int8_wo", "int4_wo", "int4_awq", "fp8"):
        made = plan(GPU, quant=quant)
        assert not [f for f in find(made) if f.code.startswith("QNT")], quant
        assert after(words(made, "quantize"), "--format") == quant
    (finding,) = [f for f in find(plan(CPU, quant="int8_sq")) if f.code == "QNT101"]
    assert finding.severity == "error"
    assert finding.message == "engine=aot_inductor has no quant=int8_sq"
    assert finding.fix == "engine=onnxruntime"


def test_float8_needs_a_gpu_that_has_it_or_none() -> None:
    old = dataclasses.replace(GPU, gpus=(dataclasses.replace(GPU.gpus[0], sm=80),))
    (finding,) = [f for f in find(plan(old, quant="fp8")) if f.code == "QNT103"]
    assert (finding.severity, finding.fix) == ("error", "quant=int8_wo")
    for host, quant in ((GPU, "fp8"), (CPU, "fp8"), (old, "int8_wo")):
        assert not [f for f in find(plan(host, quant=quant)) if f.code == "QNT103"]


AUTO: list[tuple[HostInfo, dict[str, Any], str, str]] = [
    (GPU, {}, "aot_inductor", "NVIDIA H200 is here, with PyTorch for CUDA 13.0"),
    (CPU, {}, "onnxruntime", "this host shows no GPU"),
    (dataclasses.replace(GPU, torch_cuda=None), {}, "onnxruntime", "no PyTorch for CUDA"),
    (dataclasses.replace(GPU, cxx=None), {}, "onnxruntime", "needs a C++ compiler"),
    (GPU, {"target__sm": 89}, "onnxruntime", "target.sm=89 is not this host's GPU"),
    (GPU, {"target__sm": 90}, "aot_inductor", "NVIDIA H200 is here"),
    (GPU, {"quant": "int8_wo"}, "aot_inductor", "NVIDIA H200 is here"),
    (GPU, {"quant": "int8_sq"}, "onnxruntime", "aot_inductor has no quant=int8_sq"),
    (CPU, {"quant": "fp8"}, "aot_inductor", "quant=fp8, and no other engine has float8 weights"),
    (GPU, {"quant": "fp8", "tp": 2}, "aot_inductor", "tp=2"),
    (GPU, {"name": "qwen2_vl"}, "aot_inductor", "NVIDIA H200 is here"),
    (GPU, {"name": "qwen2_vl", "variant": "tiny_2_5"}, "aot_inductor", "NVIDIA H200 is here"),
    (GPU, {"name": "gemma3"}, "onnxruntime", "aot_inductor has no graph for gemma3"),
]


@pytest.mark.parametrize(("host", "changes", "engine", "because"), AUTO)
def test_auto_chooses_by_host_and_says_why(
    host: HostInfo, changes: dict[str, Any], engine: str, because: str, tmp_path: Path
) -> None:
    made = plan(host, **{"engine": "auto", **changes})
    assessment = assess(made, Store(tmp_path))
    document = plan_json(assessment, [])
    assert document["engine"] == engine
    assert because in document["engine_because"]
    assert f"engine {engine} ({document['engine_because']})" in heading(assessment)
    assert after(words(made, "build_llm"), "--engine") == engine
    json.dumps(document)


def test_what_the_user_chose_needs_no_reason(tmp_path: Path) -> None:
    assert heading(assess(plan(CPU), Store(tmp_path))).endswith("· engine aot_inductor")


def test_recipes_offer_what_their_families_have() -> None:
    if find_spec("transformers") is None:
        pytest.skip("families need the native extra")
    from mmtrt.native.families import FAMILIES, family_of

    plain = {
        name
        for name in FAMILIES
        if name == "llava" or getattr(family_of(name), "plain_text", False)
    }
    offered = set()
    for path in sorted((RECIPES / "recipe").glob("*.yaml")):
        document = yaml.safe_load(path.read_text())
        if "aot_inductor" in document.get("engines", ()):
            own = document.get("native_model_type") or document["hf_model_type"]
            offered |= {
                own,
                *(each.get("hf_model_type", own) for each in document["variants"].values()),
            }
    assert offered == plain
