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

from mmtrt.errors import StageFailed
from mmtrt.redaction import of_environment
from mmtrt.stages import Eval, Run, Stage

_PREFIX = re.compile(r"^\[[\d/:\- ]+\] \[TRT-LLM\][^\n]*?\[[A-Z]\] ?", re.MULTILINE)
"""``[11/23/2026-16:00:00] [TRT-LLM] [I] `` before every record of TensorRT-LLM's logger."""
TOLD_LINES = 8
"""Last lines of a log that an error shows (*chosen*)."""


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

    Raises:
        StageFailed: RUN132 if a command that ended well did not tell what it was asked for, or
            tells it in words that are not known.
    """
    # Standard output last: what a tool tells ends there, and an error shows how it ends.
    text = "\n".join(path.read_text("utf-8", "replace") for path in reversed(logs))
    return HARVESTS[name](stage, text, output, exit_code)


def answers(log: str) -> list[str]:
    r"""Return the answers in ``run.py``'s log, the first beam of each request.

    Args:
        log: what the tool printed. Its logger puts a stamp before each record, and a record may
            have several lines: a question that holds ``[A]:`` is no answer.

    Raises:
        StageFailed: RUN132, for an answer that is no list of texts, one for each beam.

    Source: TensorRT-LLM ``run.py``, ``print_result``: ``logger.info(f"\n[A]: {output_text[i]}")``.
    """
    found = []
    for record in _PREFIX.split(log):
        head, _, payload = record.lstrip("\n").partition("[A]: ")
        if head or not payload:
            continue
        line = payload.split("\n", 1)[0]
        beams = _literal(line)
        if not isinstance(beams, list) or not beams or not isinstance(beams[0], str):
            raise _not_understood(f"the answer {line[:200]!r} is no list of texts", log)
        found.append(beams[0])
    return found


def _literal(text: str) -> Any:
    """Return what a Python literal stands for, ``None`` for anything else."""
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def _not_understood(what: str, log: str) -> StageFailed:
    lines = [line.rstrip() for line in log.splitlines() if line.strip()][-TOLD_LINES:]
    ending = of_environment().tree(lines)
    return StageFailed(
        f"the tool ended well, but {what}",
        code="RUN132",
        why="\n    ".join(["its log ends with", *ending]) if ending else "its log is empty",
        fix="mmtrt log   # the whole log; a TensorRT-LLM that words it otherwise is not supported",
    )


def _run_log(stage: Stage, text: str, output: Path, exit_code: int) -> bool:
    """Read ``run.py``'s log: ``[Q]``, ``[A]`` and, with ``--run_profiling``, times.

    Source: TensorRT-LLM ``examples/models/core/multimodal/run.py``, ``print_result``.
    """
    if exit_code != 0:
        return False
    assert isinstance(stage, Run)
    found = answers(text)
    if len(found) != stage.batch_size:
        wanted = f"{stage.batch_size} request{'s' * (stage.batch_size > 1)}"
        raise _not_understood(f"its log has {len(found) or 'no'} answers to {wanted}", text)
    _write_result(stage, found, output, _times(text))
    return True


def _times(log: str) -> dict[str, float]:
    """Return milliseconds a batch."""
    told = "\n".join(_PREFIX.split(log))
    times = {}
    for name, words in (
        ("e2e_ms", "e2e generation"),
        ("vision_ms", "Vision encoder"),
        ("llm_ms", "LLM generate"),
    ):
        if found := re.search(rf"^ *{words}: ([\d.]+)$", told, re.MULTILINE):
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
    for line in re.findall(r"^\[\d+\] Prompt: (.*)$", text, re.MULTILINE):
        # Either text may hold the words between them; only where they part are both literals.
        parts = [
            (_literal(line[: mark.start()]), _literal(line[mark.end() :]))
            for mark in re.finditer(", Generated text: ", line)
        ]
        answer = next((b for a, b in parts if isinstance(a, str) and isinstance(b, str)), None)
        if answer is None:
            raise _not_understood(f"the line {line[:200]!r} tells no answer", text)
        texts.append(answer)
    if len(texts) < max(1, len(stage.prompts)):
        wanted = len(stage.prompts) or "its own"
        raise _not_understood(f"it told {len(texts) or 'no'} answers to {wanted} prompts", text)
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
    told = "\n".join(_PREFIX.split(text))
    scores = {
        who: float(found[1])
        for who in ("TRT-LLM", "HF")
        if (found := re.search(rf"^{who}'s accuracy: *([\d.]+)%$", told, re.MULTILINE))
    }
    # The assertion on the threshold is the only failure after the accuracy was told.
    if exit_code != 0 and "is below the threshold" not in text:
        return False
    accuracy, threshold = scores.get("TRT-LLM"), stage.accuracy_threshold
    for who, asked in (("TRT-LLM", stage.test_trtllm), ("HF", stage.test_hf)):
        if asked and who not in scores:
            raise _not_understood(f"its log does not tell {who}'s accuracy", text)
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
