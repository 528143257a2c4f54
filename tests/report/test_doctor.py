from __future__ import annotations

import dataclasses
import json
import re
import sys

import pytest

from mmtrt.backends import native
from mmtrt.host import Gpu
from mmtrt.report import doctor
from mmtrt.report.doctor import CORE_TOOLS, NATIVE_TOOLS, examine, to_text
from tests.report.records import record
from tests.worlds import HOST, ROOT

GPU = Gpu(0, "NVIDIA H100", "GPU-1", 90, 80 << 30)


def row(document: dict, name: str, group: str = "backends") -> dict:
    return next(each for each in document[group] if each["name"] == name)


def test_tools_are_those_of_the_project_file():
    if sys.version_info < (3, 11):
        pytest.skip("tomllib is new in 3.11")
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    def names(requirements: list[str]) -> set[str]:
        return {re.match(r"[\w-]+", each)[0] for each in requirements}

    assert set(CORE_TOOLS) == names(project["dependencies"])
    assert set(NATIVE_TOOLS) == names(project["optional-dependencies"]["native"])


def test_every_engine_of_the_native_backend_has_its_needs():
    assert set(native.ENGINES) <= set(doctor._ENGINE_NEEDS)


def test_a_laptop_is_ready_for_native_engines_only(tmp_path):
    document = examine(HOST, tmp_path / "store", {"PATH": str(tmp_path)})
    assert row(document, "native")["ready"]
    trtllm = row(document, "trtllm")
    assert not trtllm["ready"]
    assert [lack["what"] for lack in trtllm["missing"]] == [doctor.NO_GPU, "tensorrt-llm"]
    assert "pip install tensorrt-llm" in trtllm["missing"][1]["fix"]
    assert row(document, "onnxruntime", "engines")["ready"]
    json.dumps(document)


def test_a_bare_install_is_told_how_to_get_native_engines(tmp_path):
    bare = dataclasses.replace(HOST, versions={})
    (lack,) = row(examine(bare, tmp_path, {}), "native")["missing"]
    assert "onnxruntime" in lack["what"]
    assert lack["fix"] == "pip install 'mmtrt[native]'"


def test_a_gpu_container_is_ready(tmp_path):
    for name in ("trtllm-build", "mpirun"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    host = dataclasses.replace(HOST, gpus=(GPU,), versions={"tensorrt-llm": "1.2.1"})
    host = dataclasses.replace(host, trtllm_examples=str(tmp_path))
    trtllm = row(examine(host, tmp_path / "store", {"PATH": str(tmp_path)}), "trtllm")
    assert (trtllm["ready"], trtllm["notes"], trtllm["version"]) == (True, [], "1.2.1")


def test_a_tensorrt_llm_without_engines_is_not_ready(tmp_path):
    host = dataclasses.replace(HOST, gpus=(GPU,), versions={"tensorrt-llm": "1.4.0"})
    (lack,) = row(examine(host, tmp_path, {"PATH": str(tmp_path)}), "trtllm")["missing"]
    assert "1.4.0" in lack["what"]


def test_plans_of_tensorrt_rtx_are_built_without_a_gpu(tmp_path):
    """As the backend does it: only TensorRT itself times kernels on the GPU it builds for."""
    versions = {**HOST.versions, "tensorrt-rtx-cu13": "1.7.1", "tensorrt": "10.13"}
    document = examine(dataclasses.replace(HOST, versions=versions), tmp_path, {})
    rtx, plain = (row(document, name, "engines") for name in ("tensorrt_rtx", "tensorrt"))
    assert (rtx["ready"], plain["ready"]) == (True, False)
    assert "needs that GPU" in rtx["notes"][0]
    assert [lack["what"] for lack in plain["missing"]] == [doctor.NO_GPU]


@pytest.mark.parametrize(
    ("changes", "ready", "note"),
    [
        ({"gpus": (GPU,), "torch_cuda": "13.0"}, True, "engine=auto takes it"),
        ({}, True, "engine=auto takes onnxruntime: this host shows no GPU"),
        ({"gpus": (GPU,)}, True, "no PyTorch for CUDA"),
        ({"cxx": None}, False, "this host shows no GPU"),
    ],
)
def test_what_auto_means_is_what_the_backend_does(tmp_path, changes, ready, note):
    host = dataclasses.replace(HOST, **{"cxx": "/usr/bin/g++", **changes})
    found = row(examine(host, tmp_path, {}), "aot_inductor", "engines")
    assert found["ready"] == ready
    assert note in found["notes"][0]


def test_a_token_is_told_of_but_never_shown(tmp_path):
    secret = "hf_" + "x" * 30
    environ = {"HF_TOKEN": secret, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    document = examine(HOST, tmp_path / "store", environ)
    assert document["hub"] == {"offline": True, "token": True}
    assert secret not in json.dumps(document) + to_text(document, color=False)


def test_a_token_file_counts(tmp_path):
    assert not examine(HOST, tmp_path, {"HF_HOME": str(tmp_path)})["hub"]["token"]
    (tmp_path / "token").write_text("")
    assert examine(HOST, tmp_path, {"HF_HOME": str(tmp_path)})["hub"]["token"]


def test_the_store_is_counted(tmp_path):
    missing = examine(HOST, tmp_path / "store", {})["store"]
    assert (missing["exists"], missing["writable"], missing["artifacts"]) == (False, True, 0)
    record(tmp_path)
    made = examine(HOST, tmp_path / "store", {})["store"]
    assert (made["exists"], made["artifacts"], made["unreadable"]) == (True, 2, 0)
    assert made["free_bytes"] > 0


def test_a_file_in_place_of_the_store_cannot_be_one(tmp_path):
    (tmp_path / "store").write_text("")
    store = examine(HOST, tmp_path / "store", {})["store"]
    assert (store["exists"], store["writable"]) == (False, False)


def test_text_names_what_is_missing_and_how_to_get_it(tmp_path):
    text = to_text(examine(HOST, tmp_path / "store", {}), color=False)
    assert "  native        ready      onnxruntime 1.0\n" in text
    assert re.search(r"^ +lacks tensorrt-llm: .*pip install", text, re.MULTILINE)
    assert "\x1b" not in text
    assert not re.search(r" $", text, re.MULTILINE)
