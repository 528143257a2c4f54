"""``check`` accepts a workload if and only if engines that were really built carry it out.

Engines of the shipped model are built for a few sets of limits; for each, workloads are drawn
around the limits, so that they lie on both sides. The text of a request has exactly the tokens
that the workload says, counted with the model's own tokenizer.
"""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from mmtrt.artifacts.store import Store
from mmtrt.config.root import asset
from mmtrt.executor.loop import execute
from mmtrt.host import probe
from mmtrt.plan.build import make_plan
from mmtrt.rules.check import CheckedPlan, find
from tests.worlds import recipe

SETS = (
    {"max_batch_size": 2, "max_input_len": 60, "max_seq_len": 70, "max_multimodal_len": 72},
    {"max_batch_size": 3, "max_input_len": 50, "max_seq_len": 66, "max_multimodal_len": 107},
)
"""The second grants each request one row too few: 107 // 3 is 35 and a picture takes 36."""
FEATURES = 36
CASES = 120
"""Workloads for each set of limits."""
PICTURE = "asset://pictures/red_circle_left_on_white.png"


@cache
def tokenizer() -> Any:
    tokenizers = pytest.importorskip("tokenizers")
    return tokenizers.Tokenizer.from_file(str(asset("asset://llava_tiny") / "tokenizer.json"))


def text_of(tokens: int) -> str:
    """Return a prompt with one picture and that many tokens beside it."""
    for words in range(200):
        text = "<image>" + " red" * words
        if len(tokenizer().encode(text).ids) - 1 == tokens:
            return text
    raise AssertionError(f"no text has {tokens} tokens")


def workload(draw: random.Random, limits: dict[str, int]) -> dict[str, Any]:
    """Return a workload near the limits, and the request that is just that."""
    batch = draw.choice([1, limits["max_batch_size"], limits["max_batch_size"] + 1])
    room = limits["max_input_len"] - FEATURES
    tokens = draw.choice([4, room - 1, room, room, room + 1])
    left = limits["max_seq_len"] - FEATURES - tokens
    new = max(1, draw.choice([1, left - 1, left, left, left + 1]))
    return {
        "workload__batch_size": batch,
        "workload__text_tokens": tokens,
        "workload__max_new_tokens": new,
        "run__batch_size": batch,
        "run__max_new_tokens": new,
        "run__prompt": text_of(tokens),
        "run__image": PICTURE,
    }


def carries_out(session: Any, asked: dict[str, Any]) -> bool:
    """Ask the engines; tokens may end early, so the room for all of them is what counts."""
    from mmtrt.native.errors import NativeError
    from mmtrt.native.sampling import Sampling

    batch = asked["run__batch_size"]
    try:
        answers = session.answer(
            [asked["run__prompt"]] * batch,
            [[str(asset(PICTURE))]] * batch,
            max_new_tokens=asked["run__max_new_tokens"],
            sampling=Sampling(),
        )
    except NativeError as error:
        assert error.code.startswith("RUN2")
        return False
    assert len(answers.answers) == batch
    return True


@pytest.mark.parametrize(
    "limits",
    [
        pytest.param(SETS[0], id="fits"),
        pytest.param(SETS[1], id="one row short", marks=pytest.mark.slow),
    ],
)
def test_check_accepts_what_engines_carry_out_and_nothing_else(limits, tmp_path):
    pytest.importorskip("onnxruntime")
    from mmtrt.native.multimodal_session import MultimodalSession

    host, draw = replace(probe(), gpus=()), random.Random(str(limits))
    built = recipe(variant="tiny", until="assemble", run__image=PICTURE, **limits)
    result = execute(CheckedPlan(make_plan(built, host), ()), Store(tmp_path / "store"))
    assert not result.failures
    model = result.artifacts["download"].path
    session = MultimodalSession(result.artifacts["assemble"].path, model)
    accepted = refused = 0
    for _ in range(CASES):
        asked = workload(draw, limits)
        plan = make_plan(recipe(variant="tiny", **limits, **asked), host)
        codes = [finding.code for finding in find(plan) if finding.severity == "error"]
        accepted += not codes
        refused += bool(codes)
        assert carries_out(session, asked) is not bool(codes), (asked, codes)
    assert refused and (accepted or limits is SETS[1])
