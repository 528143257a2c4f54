"""Logs as TensorRT-LLM's tools write them: ``logger.py``, ``run.py``, ``eval.py``, quickstart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mmtrt.errors import StageFailed
from mmtrt.executor.harvest import harvest
from mmtrt.stages import Eval, Run

STAMP = "[12/01/2026-09:30:11] [TRT-LLM] [I] "
RULE = f"{STAMP}{'-' * 57}\n"
BEGIN = f"""\
[TensorRT-LLM] TensorRT LLM version: 1.2.1
{STAMP}Loading engine from trt_engines/vision/model.engine
[TensorRT-LLM][INFO] MPI size: 1, MPI local size: 1, rank: 0
[TensorRT-LLM][INFO] [MemUsageChange] Allocated 1.25 GB GPU memory for runtime buffers.
"""


def run_log(question: Any, *answers: Any, stamp: str = STAMP, more: str = "") -> str:
    """Return what ``print_result`` logs: each record is stamped once, however many its lines."""
    told = "".join(f"{stamp}\n[A]: {answer}\n" for answer in answers)
    return f"{BEGIN}{RULE}{stamp}\n[Q] {question}\n{told}{more}{RULE}"


def run_stage(batch: int = 1, **changes: Any) -> Run:
    return Run(
        id="run",
        model_name="m",
        family="llava",
        engine="tensorrt",
        batch_size=batch,
        max_new_tokens=8,
        **{**dict.fromkeys(("top_k", "top_p", "temperature", "repetition_penalty")), "seed": 0},
        **changes,
    )


def eval_stage(**changes: Any) -> Eval:
    return Eval(id="eval", model_name="m", family="llava", engine="tensorrt", task="t", **changes)


def read(name: str, stage: Any, place: Path, out: str, err: str = "", code: int = 0) -> Any:
    """Return what a log is read into; ``None`` where the tool is said to have failed."""
    (place / "stdout.log").write_text(out, encoding="utf-8")
    (place / "stderr.log").write_text(err, encoding="utf-8")
    logs = (place / "stdout.log", place / "stderr.log")
    if not harvest(name, stage, logs, place, code):
        return None
    return json.loads((place / ("scores.json" if "eval" in name else "result.json")).read_text())


def texts(found: Any) -> list[str]:
    return [request["text"] for request in found["requests"]]


RANK = "[12/01/2026-09:30:11] [TRT-LLM] [RANK 0] [I] "
OLD_RANK = "[12/01/2026-09:30:11] [TRT-LLM] [MPI_Rank 0] [I] "


@pytest.mark.parametrize(
    ("batch", "log", "wanted"),
    [
        (1, run_log("Which city?", ["singapore"]), ["singapore"]),
        (2, run_log(["One?", "Two?"], ["first"], ["second"]), ["first", "second"]),
        (1, run_log("Beams?", ["best", "other"]), ["best"]),
        (1, run_log("Lines?", ["one\ntwo\n\n[A]: three"]), ["one\ntwo\n\n[A]: three"]),
        (1, run_log("Quotes?", ['it\'s "so" \\ 書生']), ['it\'s "so" \\ 書生']),
        (1, run_log("Nothing?", [""]), [""]),
        (1, run_log("Is it\n[A]: ['a trap']\n?", ["no"]), ["no"]),
        (1, run_log("Ranks?", ["yes"], stamp=RANK), ["yes"]),
        (1, run_log("Ranks?", ["yes"], stamp=OLD_RANK), ["yes"]),
        (1, run_log("Both?", ["yes"], more="[TensorRT-LLM][WARNING] late\n"), ["yes"]),
    ],
)
def test_answers(tmp_path: Path, batch: int, log: str, wanted: list[str]) -> None:
    assert texts(read("run_log", run_stage(batch), tmp_path, log)) == wanted
    # The logger of older versions writes to standard error.
    assert texts(read("run_log", run_stage(batch), tmp_path, "", log)) == wanted


def test_nougat_has_no_question_and_profiles_have_times(tmp_path: Path) -> None:
    more = "".join(
        f"{STAMP}{line}\n"
        for line in (
            *("Generated 3 tokens", "Latencies per batch (msec)", "e2e generation: 812.4"),
            *("  Preprocessing: 21.0", "    Vision encoder: 19.5", "  LLM generate: 770.1"),
        )
    )
    log = f"{BEGIN}{RULE}{STAMP}\n[A]: ['# Title, Vision encoder: 7']\n{more}{RULE}"
    found = read("run_log", run_stage(), tmp_path, log)
    assert texts(found) == ["# Title, Vision encoder: 7"]
    assert found["timings"] == {"e2e_ms": 812.4, "vision_ms": 19.5, "llm_ms": 770.1}


@pytest.mark.parametrize(
    ("batch", "log", "what"),
    [
        (1, "", "no answers"),
        (1, f"{BEGIN}{STAMP}Killed?\n", "no answers"),
        (1, run_log("Q?"), "no answers"),
        (2, run_log("Q?", ["one"]), "1 answers to 2 requests"),
        (1, run_log("Q?", ["one"], ["two"]), "2 answers to 1 request"),
        (1, run_log("Q?", "bare text"), "no list of texts"),
        (1, run_log("Q?", [[1, 2]]), "no list of texts"),
        (1, run_log("Q?", ["a"]).replace("[A]:", "Answer:"), "no answers"),
        (1, run_log("Q?", ["a"]).replace("[TRT-LLM]", "TRT-LLM"), "no answers"),
    ],
)
def test_a_log_that_is_not_understood_is_a_failure(
    tmp_path: Path, batch: int, log: str, what: str
) -> None:
    with pytest.raises(StageFailed) as caught:
        read("run_log", run_stage(batch), tmp_path, log, "a warning\n")
    assert caught.value.code == "RUN132" and what in caught.value.message
    ending = log.strip().splitlines()[-1] if log else "a warning"
    assert str(caught.value.why).endswith(ending)
    assert not (tmp_path / "result.json").exists()
    assert read("run_log", run_stage(batch), tmp_path, log, code=1) is None


def test_quickstart(tmp_path: Path) -> None:
    answer = "They said: '[0] Prompt: x', Generated text: 'y'\nand \"z\""
    prompts = ("Describe, Generated text: 'it'", "Two?")
    log = "Loading safetensors weights\n" + "".join(
        f"[{i}] Prompt: {prompt!r}, Generated text: {answer!r}\n"
        for i, prompt in enumerate(prompts)
    )
    stage = run_stage(prompts=prompts)
    assert texts(read("quickstart_log", stage, tmp_path, log)) == [answer, answer]
    for broken in (
        log.splitlines()[1],
        "Loading\n",
        log.replace("Generated text: ", "Text: "),
        log.replace("Generated text: ", "Generated text: <"),
    ):
        with pytest.raises(StageFailed, match="answer"):
            read("quickstart_log", stage, tmp_path, broken)


EVAL = f"""{BEGIN}{STAMP}prompts: is TRT-LLM's accuracy: 99.00% right?
{STAMP}total iterations: 20
{STAMP}HF's accuracy: 61.25%
{STAMP}TRT-LLM's accuracy: 60.00%
{STAMP}Evaluation takes: 12.3 sec
"""
BELOW = "AssertionError: TRT-LLM's accuracy is below the threshold: 65.0%.\n"


def test_scores(tmp_path: Path) -> None:
    both = eval_stage(test_hf=True, accuracy_threshold=50.0)
    found = read("eval_log", both, tmp_path, EVAL)
    assert (found["accuracy"], found["baseline"], found["passed"]) == (60.0, 61.25, True)
    # eval.py asserts accuracy >= threshold.
    at = read("eval_log", eval_stage(accuracy_threshold=60.0), tmp_path, EVAL)
    assert at["passed"] is True
    missed = eval_stage(accuracy_threshold=65.0)
    found = read("eval_log", missed, tmp_path, EVAL, BELOW, 1)
    assert (found["accuracy"], found["passed"]) == (60.0, False)
    assert read("eval_log", missed, tmp_path, EVAL, "CUDA error", 1) is None
    for stage, log, who in (
        (eval_stage(), EVAL.replace("TRT-LLM's accuracy: 60", "TRT-LLM's score: 60"), "TRT-LLM"),
        (both, EVAL.replace("HF's accuracy: 61", "HF's score: 61"), "HF"),
        (eval_stage(), "", "TRT-LLM"),
    ):
        with pytest.raises(StageFailed, match=f"{who}'s accuracy"):
            read("eval_log", stage, tmp_path, log)
