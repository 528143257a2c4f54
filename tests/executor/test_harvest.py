"""What a log says of an evaluation: done, or crashed; at the threshold, above or below."""

from __future__ import annotations

import json

import pytest

from mmtrt.executor.harvest import harvest
from mmtrt.plan.build import make_plan
from tests.worlds import HOST, recipe

STAMP = "[12/01/2026-10:00:00] [TRT-LLM] [I] "
BELOW = "AssertionError: TRT-LLM's accuracy is below the threshold: 65.0%.\n"


def said(accuracy: str) -> str:
    return f"{STAMP}TRT-LLM's accuracy: {accuracy}%\n"


@pytest.mark.parametrize(
    ("log", "exit_code", "is_done", "passed"),
    [
        (said("65.01"), 0, True, True),
        (said("65.00"), 0, True, True),  # eval.py asserts accuracy >= threshold
        (said("64.99") + BELOW, 1, True, False),
        (said("80.00") + "RuntimeError: CUDA error: an illegal memory access\n", 1, False, None),
        ("", 0, False, None),
        ("Traceback (most recent call last):\nKeyError: 'image'\n", 1, False, None),
        ("", 137, False, None),
    ],
)
def test_an_evaluation_by_its_log(tmp_path, log, exit_code, is_done, passed):
    plan = make_plan(recipe("mllama", backend="trtllm", eval__task="lmms-lab/ai2d"), HOST)
    stdout = tmp_path / "stdout.log"
    stdout.write_text(log)
    done = harvest("eval_log", plan["eval"].stage, (stdout,), tmp_path, exit_code)
    assert done is is_done
    scores = tmp_path / "scores.json"
    assert passed is None or json.loads(scores.read_text())["passed"] is passed
