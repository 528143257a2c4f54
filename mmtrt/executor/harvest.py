"""What TensorRT-LLM's tools say in their logs alone, written into the output as JSON.

``run.py`` prints its answers and ``eval.py`` its accuracy; neither writes a file. The log is read
after the process has ended, so that the command stays the tool's own.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmtrt.redaction import of_environment
from mmtrt.stages import Eval, Run, Stage

_PREFIX = re.compile(r"^\[[\d/:\- ]+\] \[TRT-LLM\][^\n]*?\[[A-Z]\] ?", re.MULTILINE)
"""``[11/23/2026-16:00:00] [TRT-LLM] [I] `` before every record of TensorRT-LLM's logger."""
_RECORD = "\x1e"


def harvest(name: str, stage: Stage, logs: Sequence[Path], output: Path, exit_code: int) -> bool:
    """Read a finished command's logs into its output directory.

    Args:
        name: a key of :data:`HARVESTS`.
        stage: what was run.
        logs: standard output and standard error.
        output: the output directory of the stage.
        exit_code: how the command ended.

    Returns:
        Whether the command did its work. ``eval.py`` fails an assertion where the accuracy is below
        the threshold: it has done its work nevertheless, and the score says so.
    """
    text = "\n".join(path.read_text("utf-8", "replace") for path in logs)
    return HARVESTS[name](stage, text, output, exit_code)


def answers(question_and_answers: str) -> list[str]:
    """Return the answers of a log, the first beam of each item of the batch."""
    found = []
    for match in re.finditer(r"^\[A\]: (.*)$", question_and_answers, re.MULTILINE):
        try:
            beams = ast.literal_eval(match[1])
        except (ValueError, SyntaxError):
            beams = match[1]
        found.append(str(beams[0]) if isinstance(beams, list) and beams else str(beams))
    return found


def _run_log(stage: Stage, text: str, output: Path, exit_code: int) -> bool:
    """Read ``run.py``'s log: ``[Q]``, ``[A]`` and, with ``--run_profiling``, times.

    Source: TensorRT-LLM ``examples/models/core/multimodal/run.py``, ``print_result``.
    """
    if exit_code != 0:
        return False
    assert isinstance(stage, Run)
    records = _PREFIX.sub(_RECORD, text)
    _write_result(stage, answers(records), output, _times(records))
    return True


def _times(records: str) -> dict[str, float]:
    """Return milliseconds a batch."""
    times = {}
    for name, words in (
        ("e2e_ms", "e2e generation"),
        ("vision_ms", "Vision encoder"),
        ("llm_ms", "LLM generate"),
    ):
        if found := re.search(rf"{words}: ([\d.]+)", records):
            times[name] = float(found[1])
    return times


def _quickstart_log(stage: Stage, text: str, output: Path, exit_code: int) -> bool:
    """Read ``quickstart_multimodal.py``'s output: one line for each prompt.

    Source: TensorRT-LLM ``examples/llm-api/quickstart_multimodal.py``.
    """
    if exit_code != 0:
        return False
    assert isinstance(stage, Run)
    texts = []
    for match in re.finditer(r"^\[\d+\] Prompt: .*, Generated text: (.*)$", text, re.MULTILINE):
        try:
            texts.append(str(ast.literal_eval(match[1])))
        except (ValueError, SyntaxError):
            texts.append(match[1])
    _write_result(stage, texts, output, {})
    return True


def _write_result(stage: Run, texts: list[str], output: Path, times: dict[str, float]) -> None:
    images = [Path(image).name if "://" not in image else image for image in stage.images]

    def at(values: Sequence[str], index: int) -> str:
        """Return the item of a request; a single one serves them all."""
        return values[index] if index < len(values) else values[-1] if values else ""

    paired = len(images) == len(texts)
    requests = [
        {
            "prompt": at(stage.prompts, index),
            "images": images[index : index + 1] if paired else images,
            "text": text,
            "token_ids": [],
        }
        for index, text in enumerate(texts)
    ]
    _write(output / "result.json", {"schema": 1, "requests": requests, "timings": times})


def _eval_log(stage: Stage, text: str, output: Path, exit_code: int) -> bool:
    """Read ``eval.py``'s log: accuracies in per cent.

    Source: TensorRT-LLM ``examples/models/core/multimodal/eval.py``.
    """
    assert isinstance(stage, Eval)
    scores = {
        who: float(found[1])
        for who in ("TRT-LLM", "HF")
        if (found := re.search(rf"{who}'s accuracy: *([\d.]+)%", text))
    }
    # The assertion on the threshold is the only failure after the accuracy was told.
    if exit_code != 0 and "is below the threshold" not in text:
        return False
    accuracy, threshold = scores.get("TRT-LLM"), stage.accuracy_threshold
    if stage.test_trtllm and accuracy is None:
        return False
    _write(
        output / "scores.json",
        {
            "task": stage.task,
            "samples": stage.max_ite,
            "accuracy": accuracy,
            "baseline": scores.get("HF"),
            "threshold": threshold,
            "passed": threshold is None or accuracy is None or accuracy >= threshold,
        },
    )
    return True


def _write(path: Path, document: dict[str, Any]) -> None:
    shown = of_environment().tree(document)  # a picture's URL may hold a signature
    path.write_text(json.dumps(shown, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


HARVESTS: dict[str, Callable[[Stage, str, Path, int], bool]] = {
    "run_log": _run_log,
    "quickstart_log": _quickstart_log,
    "eval_log": _eval_log,
}
