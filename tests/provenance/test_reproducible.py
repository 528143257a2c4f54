"""What stage types promise of two builds, and that the native ones keep it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmtrt.artifacts.compare import compare_files
from mmtrt.artifacts.digest import digest_tree
from mmtrt.stages import STAGE_TYPES
from tests.provenance.conftest import mmtrt
from tests.worlds import ROOT

PROMISES = {
    "bitwise": "assemble clone convert download patch quantize write",
    "semantic": "build_llm build_vision env eval",
    "no": "run serve",
}


def test_every_kind_promises_something():
    found: dict[str, list[str]] = {}
    for kind, stage in STAGE_TYPES.items():
        found.setdefault(stage.REPRODUCIBLE, []).append(kind)
    assert {promise: " ".join(sorted(kinds)) for promise, kinds in found.items()} == PROMISES
    assert all(
        stage.REPRODUCIBLE == "semantic" for stage in STAGE_TYPES.values() if stage.IS_ENGINE
    )


def built(module: str, *flags: object, cwd: Path, seed: str) -> dict:
    """Run a stage process in a directory of its own; return path -> digest of what it wrote."""
    cwd.mkdir(parents=True)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed, "TMPDIR": str(cwd)}
    argv = [sys.executable, "-m", module, "--output-dir", cwd / "out", *map(str, flags)]
    done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return digest_tree(cwd / "out")


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Return a model directory with code and an index of shards."""
    root = tmp_path_factory.mktemp("source")
    (root / "sub").mkdir()
    (root / "config.json").write_text('{"model_type": "llava"}')
    (root / "sub/modeling.py").write_text("import flash_attn\nx = 1\n")
    return root


EDITS = [{"file": "sub/modeling.py", "before": "import flash_attn\n", "after": ""}]

TASKS = {
    "download": ("mmtrt.tasks.download", "--local-dir", "{source}"),
    "write": ("mmtrt.tasks.write", "--file", "a.yaml=x: 1\ny: [2]"),
    "patch": ("mmtrt.tasks.patch", "--source-dir", "{source}", "--edits", json.dumps(EDITS)),
    "assemble": ("mmtrt.tasks.assemble", "--part", "llm={source}", "--part", "vision={source}"),
}


def twice(tmp_path: Path, module: str, *flags: object) -> list:
    """Build in two directories, in two processes with other hash seeds; return what differs."""
    places = (tmp_path / "one", tmp_path / "another place")
    one, two = (built(module, *flags, cwd=cwd, seed=seed) for cwd, seed in zip(places, "17"))
    assert one
    return compare_files(one.values(), two.values())


@pytest.mark.parametrize("kind", TASKS)
def test_two_clean_builds_agree_in_every_byte(tmp_path, source, kind):
    module, *flags = (word.replace("{source}", str(source)) for word in TASKS[kind])
    assert twice(tmp_path, module, *flags) == []
    assert STAGE_TYPES[kind].REPRODUCIBLE == "bitwise"


@pytest.mark.slow
def test_two_conversions_and_their_packing_agree(tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("safetensors")
    tiny = ROOT / "recipes/assets/llava_tiny"
    convert = ("mmtrt.native.convert", "--model-dir", tiny)
    assert twice(tmp_path / "convert", *convert) == []
    checkpoint = tmp_path / "convert/one/out"
    quantize = ("mmtrt.native.quantize", "--checkpoint-dir", checkpoint, "--format", "int8_wo")
    assert twice(tmp_path / "quantize", *quantize) == []


def test_a_rebuild_of_real_stages_is_the_same(real_home):
    """Stored and rebuilt outputs come from other directories, processes and times."""
    done = mmtrt("verify", "--rebuild", "download,convert,assemble", "--json", cwd=real_home)
    document = json.loads(done.stdout)
    assert done.returncode == 0, document
    assert {row["stage"]: row["verdict"] for row in document["rebuilds"]} == {
        "download": "same",
        "convert": "same",
        "assemble": "same",
    }


@pytest.mark.slow
def test_a_rebuild_of_real_engines_is_the_same_byte_for_byte(real_home):
    """More than the type promises: ONNX exports of one version of the tools are equal."""
    done = mmtrt("verify", "--rebuild", "build_llm,build_vision", "--json", cwd=real_home)
    document = json.loads(done.stdout)
    assert [row["verdict"] for row in document["rebuilds"]] == ["same", "same"]


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llava_next", "qwen2_vl"])
def test_two_random_models_of_one_seed_agree(tmp_path, family):
    pytest.importorskip("transformers")
    assert twice(tmp_path, "mmtrt.native.make_tiny", "--family", family, "--seed", "3") == []
