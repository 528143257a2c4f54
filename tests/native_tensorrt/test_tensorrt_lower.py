from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mmtrt.native.errors import NativeError
from mmtrt.native.tensorrt_lower import PlanTarget, lower


@pytest.fixture
def engine(graphs: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(graphs / "vision", tmp_path / "vision"))


def test_a_graph_becomes_a_plan_with_its_record(engine: Path, rtx: Any) -> None:
    before = json.loads((engine / "config.json").read_text())
    lower(engine, "tensorrt_rtx", PlanTarget(capabilities=[89]))
    after = json.loads((engine / "config.json").read_text())
    assert sorted(path.name for path in engine.iterdir()) == ["config.json", "model.plan"]
    assert (after["engine"], after["files"]) == ("tensorrt_rtx", ["model.plan"])
    assert after["versions"]["tensorrt_rtx"] == rtx.version
    assert after["plan"]["compute_capabilities"] == [89]
    assert after["plan"]["profile"]["pixels"]["max"] == [2, 3, 48, 48]
    assert after["tied_to"] == {
        "package": "tensorrt_rtx", "version": rtx.version, "device": "cuda", "sm": [89],
    }  # fmt: skip
    same = before.keys() - {"engine", "files", "versions", "tied_to"}
    assert {name: after[name] for name in same} == {name: before[name] for name in same}


def test_a_refused_build_leaves_no_engine(engine: Path, rtx: Any) -> None:
    with pytest.raises(NativeError, match="cannot build for compute capability 90"):
        lower(engine, "tensorrt_rtx", PlanTarget(capabilities=[90]))
    assert not (engine / "config.json").exists()


def test_other_engines_are_left_as_they_are(engine: Path) -> None:
    before = {path.name: path.read_bytes() for path in engine.iterdir()}
    lower(engine, "onnxruntime", PlanTarget())
    assert {path.name: path.read_bytes() for path in engine.iterdir()} == before
