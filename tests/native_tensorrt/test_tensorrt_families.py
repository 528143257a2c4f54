"""Every family's tiny variant, built into plans through the command line, as on a build machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mmtrt.native.tiny import MODELS
from tests.every import recipe_data, recipe_names
from tests.worlds import ROOT

REQUIRED = ("llava", "llava_next", "qwen2_vl", "blip2")
SM = 89

# Tiny models have weights of a few MiB at most; a plan adds some MiB of code (*measured*: 2 to 5).
LARGEST = 32 << 20


def variants() -> Iterator[tuple[str, str]]:
    """Yield (recipe, variant) of every tiny model that a recipe builds natively."""
    for name in recipe_names():
        data = recipe_data(name)
        for variant in data["variants"] if "native" in data["backends"] else ():
            if variant.startswith("tiny"):
                yield name, variant


VARIANTS = [*variants()]
OTHERS = [name for name in MODELS if name not in {recipe for recipe, _ in VARIANTS}]
"""Families whose recipe has no tiny variant: their stages are called one by one."""


def test_the_families_that_must_compile_are_all_here() -> None:
    assert {*REQUIRED} <= {*OTHERS, *(recipe for recipe, _ in VARIANTS)}


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_a_recipe_compiles_ahead_of_time(name: str, variant: str, tmp_path: Path, rtx: Any) -> None:
    argv = [sys.executable, "-m", "mmtrt", f"recipe={name}", f"variant={variant}"]
    argv += ["until=assemble", "engine=tensorrt_rtx", f"target.sm={SM}"]
    argv += [f"paths.store={tmp_path / 'store'}", f"paths.runs={tmp_path / 'runs'}"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    made = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=280, check=False)
    assert made.returncode == 0, made.stderr
    check_all(tmp_path / "store/assemble", rtx.version)


@pytest.mark.parametrize("name", OTHERS)
def test_a_family_compiles_ahead_of_time(name: str, tmp_path: Path, rtx: Any) -> None:
    from mmtrt.native import build_llm, build_vision, convert
    from mmtrt.native.make_tiny import make_tiny

    def run(stage: Any, *flags: object) -> None:
        assert stage.main([str(flag) for flag in flags]) == 0

    model, checkpoint, engines = (tmp_path / name for name in ("model", "checkpoint", "engines"))
    make_tiny(name, model, 0)
    run(convert, "--model-dir", model, "--output-dir", checkpoint)
    target = ("--engine", "tensorrt_rtx", "--compute-capability", SM, "--max-batch-size", 2)
    limits = ("--max-input-len", 256, "--max-seq-len", 280, "--max-encoder-input-len", 300)
    for config in sorted(checkpoint.rglob("config.json")):
        part = config.parent.relative_to(checkpoint)
        where = ("--checkpoint-dir", config.parent, "--output-dir", engines / part)
        if part.name == "vision":
            run(build_vision, *where, *target)
        else:
            run(build_llm, *where, *target, *limits)
    check_all(engines, rtx.version)


def check_all(directory: Path, version: str) -> None:
    """Check that a directory holds plans of vision and language, and no graph."""
    plans = sorted(directory.rglob("model.plan"))
    parts = {plan.parent.name for plan in plans}
    assert "vision" in parts
    assert parts & {"llm", "decoder"}
    assert not [*directory.rglob("model.onnx*")]
    for plan in plans:
        check(plan, json.loads((plan.parent / "config.json").read_text()), version)


def check(plan: Path, document: dict[str, Any], version: str) -> None:
    """Check what an engine's configuration says of its plan."""
    record, limits = document["plan"], document["limits"]
    assert document["engine"] == record["package"] == "tensorrt_rtx"
    assert document["files"] == ["model.plan"]
    assert record["version"] == version
    assert record["compute_capabilities"] == [SM]
    assert 0 < plan.stat().st_size < LARGEST
    assert record["size_bytes"] == plan.stat().st_size
    assert record["profile"].keys() == {spec["name"] for spec in record["inputs"]}
    for spec in record["inputs"]:
        shapes = record["profile"][spec["name"]]
        for index, side in enumerate(spec["shape"]):
            sizes = [shapes[place][index] for place in ("min", "opt", "max")]
            if isinstance(side, int):
                assert sizes == [side] * 3
            else:
                assert 1 <= sizes[0] <= sizes[1] == sizes[2]
            if side == "batch":
                assert sizes[2] == limits["max_batch_size"]
