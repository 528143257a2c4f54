"""Engines of several ranks, built and run as users do, beside transformers and one rank."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmtrt.native.build_llm import build_llm
from mmtrt.native.convert import convert
from mmtrt.native.errors import NativeError
from mmtrt.native.limits import LlmLimits
from mmtrt.native.rank_launch import launch
from tests.native.families import CASES, NEW_TOKENS, Built

# Compiling takes a minute for each engine.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(shutil.which("g++") is None, reason="packages are compiled C++"),
]


def limits() -> LlmLimits:
    return LlmLimits(
        max_batch_size=2,
        max_input_len=256,
        max_seq_len=256 + NEW_TOKENS,
        max_num_tokens=512,
        max_multimodal_len=256,
    )


MODELS = ("llava", "llava_next", "llava_onevision", "internvl2", "qwen2_vl", "qwen2_5_vl")


def cell(model: str) -> Any:
    """Return a case that fills a cell of docs/what_runs_where.md."""
    where = {"recipe": CASES[model].recipe or model, "variant": CASES[model].variant}
    mark = pytest.mark.cell("tp", **where, engine="aot_inductor")
    return pytest.param(model, 2, marks=mark, id=f"{model}-2")


# Four ranks have the two key/value heads of the tiny models twice.
@pytest.mark.parametrize(("model", "ranks"), [*map(cell, MODELS), ("llava_next", 4)])
def test_answers_are_those_of_transformers(tmp_path: Path, model: str, ranks: int) -> None:
    from mmtrt.native.aot_engine import AotTarget

    built = Built(CASES[model], tmp_path)
    split = tmp_path / "split"
    convert(built.model_dir, split, "auto", tp_size=ranks)
    engines = tmp_path / "ranks"
    build_llm(
        split / "llm", engines / "llm", engine="aot_inductor", limits=limits(), aot=AotTarget()
    )
    shutil.copytree(built.engines / "vision", engines / "vision")
    weights = [engines / f"llm/rank{rank}.safetensors" for rank in range(ranks)]
    assert len({path.stat().st_size for path in weights}) == 1
    assert len(list((engines / "llm").glob("*.pt2"))) == 2

    texts, pictures = built.case.texts[:2], [[path] for path in built.pictures[:2]]
    asked = json.dumps([texts, pictures, NEW_TOKENS])
    first = [sys.executable, "-m", "tests.native_tp.first_rank"]
    first += [str(engines), str(built.model_dir), str(tmp_path / "found.npz"), asked]
    follower = [sys.executable, "-m", "mmtrt.native.rank_follower", "--llm-dir"]
    assert launch(first, [*follower, str(engines / "llm")], ranks) == 0
    logits: Any = np.load(tmp_path / "found.npz")["logits"]
    found = json.loads((tmp_path / "found.json").read_text())
    tokens = found["greedy"]
    assert found["sampled"] == tokens

    wanted, wanted_logits = built.expected(texts, pictures)
    assert tokens == wanted == built.answer(texts, pictures).generation.token_ids
    for row, each in enumerate(wanted_logits):
        np.testing.assert_allclose(logits[: len(each), row], each, atol=1e-4, rtol=0)


def test_other_engine_formats_refuse_a_split_model(tmp_path: Path) -> None:
    from mmtrt.native.make_tiny import make_tiny

    make_tiny("llava_next", tmp_path / "model", 0)
    convert(tmp_path / "model", tmp_path / "split", "auto", tp_size=2)
    with pytest.raises(NativeError) as refused:
        build_llm(
            tmp_path / "split/llm", tmp_path / "engine", engine="onnxruntime", limits=limits()
        )
    assert refused.value.code == "PAR205"
    assert not (tmp_path / "engine").exists()
