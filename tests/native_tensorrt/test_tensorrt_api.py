from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from mmtrt.native import build_llm, build_vision
from mmtrt.native.tensorrt_api import PLAN_ENGINES, HostLacks, TensorrtApi


@pytest.mark.parametrize("engine", PLAN_ENGINES)
def test_a_missing_package_is_named_with_its_extra(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, engine, None)
    with pytest.raises(HostLacks) as error:
        TensorrtApi(engine)
    assert error.value.code == "ENV202"
    assert f"the Python package {engine} is not installed" in str(error.value)
    assert f"pip install 'mmtrt[native,{engine.replace('_', '-')}]'" in str(error.value)


def test_a_package_without_its_libraries_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "raise OSError('libnvinfer.so.10: cannot open shared object file')"
    (tmp_path / "tensorrt.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    with pytest.raises(HostLacks, match=r"tensorrt cannot be loaded: libnvinfer\.so\.10"):
        TensorrtApi("tensorrt")


@pytest.mark.parametrize("stage", [build_vision, build_llm])
def test_a_build_without_the_package_ends_before_the_export_with_status_5(
    stage: types.ModuleType,
    tmp_path: Path,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    name = stage.__name__.rpartition("_")[2]
    flags = ["--checkpoint-dir", str(checkpoint / name), "--output-dir", str(tmp_path / "out")]
    flags += ["--engine", "tensorrt_rtx", "--compute-capability", "89", "--max-batch-size", "2"]
    flags += ["--max-input-len", "16", "--max-seq-len", "20"] if name == "llm" else []
    assert stage.main(flags) == 5
    assert "error[ENV202]" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_only_plans_are_aimed_at_a_gpu(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--checkpoint-dir", str(checkpoint / "vision"), "--output-dir", str(tmp_path / "out")]
    assert build_vision.main([*flags, "--compute-capability", "89"]) == 2
    assert "--compute-capability is for tensorrt and tensorrt_rtx" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_capabilities_of_the_package_are_those_that_plans_are_checked_for(rtx: Any) -> None:
    from mmtrt.backends.plan_engines import PLAN_ENGINES

    assert rtx.capabilities() == (75, *(PLAN_ENGINES["tensorrt_rtx"].sms or ()))
    assert 90 not in rtx.capabilities()


def test_errors_are_told_once_and_without_the_missing_driver(rtx: Any) -> None:
    log = rtx.log
    error, info = rtx.trt.ILogger.Severity.ERROR, rtx.trt.ILogger.Severity.INFO
    for severity, message in (
        (error, "a\n b"),
        (error, "cudaError 35"),
        (info, "c"),
        (error, "a b"),
    ):
        log.log(severity, message)
    assert rtx.errors() == "a b"
    assert rtx.errors() == "no reason given"
