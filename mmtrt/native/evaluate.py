"""Ask engines the questions of a data set, count right answers, and write scores.json.

With --test-hf the original model is asked too, by transformers on the CPU. A question, the way it
is put and what counts as right are those of TensorRT-LLM's eval.py; the prompt around it is the
family's own. A threshold that is missed is no failure of this stage: the score says so.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mmtrt.native.errors import NativeError, report
from mmtrt.native.eval_data import read_questions
from mmtrt.native.eval_tasks import TASKS, Question, task_of
from mmtrt.native.flags import add_directory, positive, stage_parser
from mmtrt.native.hf_baseline import HfBaseline
from mmtrt.native.image_file import open_image
from mmtrt.native.json_file import write_json
from mmtrt.native.multimodal_session import MultimodalSession
from mmtrt.native.progress import say
from mmtrt.native.rank_launch import in_ranks

SCORES_FILE, ANSWERS_FILE = "scores.json", "answers.json"

# *Chosen*: lines that tell how far it is, whatever the number of questions.
_PROGRESS_LINES = 10


@dataclass
class _Side:
    """What one of the two said."""

    name: str
    texts: list[str] = field(default_factory=list)
    tokens: list[list[int]] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)

    def add(self, question: Question, text: str, tokens: list[int]) -> None:
        """Keep an answer."""
        self.texts.append(text)
        self.tokens.append(tokens)
        self.right.append(question.is_right(text))

    @property
    def accuracy(self) -> float:
        """Per cent of right answers, with the two digits that ``eval.py`` prints."""
        return round(100 * sum(self.right) / len(self.right), 2)


def evaluate(
    engine_dir: Path,
    model_dir: Path,
    dataset_dir: Path,
    output_dir: Path,
    *,
    task_name: str,
    most: int,
    batch_size: int,
    max_new_tokens: int,
    threshold: float | None,
    test_engines: bool,
    test_hf: bool,
) -> None:
    """Write ``scores.json``, and ``answers.json`` with what was asked and said.

    Args:
        engine_dir: holds the engines.
        model_dir: the model that they were built from.
        dataset_dir: see ``read_questions``.
        output_dir: made if needed.
        task_name: a key of ``TASKS``.
        most: how many questions are asked.
        batch_size: questions in one call of the engines.
        max_new_tokens: most tokens of an answer.
        threshold: per cent of right answers that the engines must reach.
        test_engines: whether they are asked.
        test_hf: whether the original model is asked.

    Raises:
        NativeError: EVL2xx for the data set; ART203, MDL2xx or RUN2xx, if engines, model or a
            question cannot be used.
    """
    task = task_of(task_name)
    session = MultimodalSession(engine_dir, model_dir)
    engines = _Side("engines") if test_engines else None
    original = _Side("Hugging Face") if test_hf else None
    baseline = HfBaseline(model_dir, session.frontend) if test_hf else None
    asked: list[Question] = []
    told = 0
    say(f"asking up to {most} questions of {task_name}, {batch_size} at a time")
    with TemporaryDirectory(prefix="mmtrt-eval-") as place:
        for batch in _batches(read_questions(dataset_dir, task, most), batch_size):
            paths = _written(batch, Path(place))
            try:
                if engines is not None:
                    _ask(engines, session, batch, paths, max_new_tokens)
                if original is not None and baseline is not None:
                    _ask_original(original, baseline, session, batch, paths, max_new_tokens)
            except NativeError as error:
                first, last = len(asked) + 1, len(asked) + len(batch)
                which = f"question {first}" if first == last else f"questions {first} to {last}"
                error.at = error.at or f"{which} of {dataset_dir}"
                raise
            asked += batch
            if len(asked) * _PROGRESS_LINES // most > told or len(asked) == most:
                told = len(asked) * _PROGRESS_LINES // most
                sides = [side for side in (engines, original) if side is not None]
                counts = ", ".join(f"{side.name} {sum(side.right)} right" for side in sides)
                say(f"{len(asked)} of {most}: {counts}")
    if len(asked) < most:
        say(f"the data set has {len(asked)} questions")
    output_dir.mkdir(parents=True, exist_ok=True)
    write_json(output_dir / ANSWERS_FILE, _answers(asked, engines, original))
    write_json(
        output_dir / SCORES_FILE, _scores(task_name, len(asked), threshold, engines, original)
    )


def _batches(questions: Iterator[Question], size: int) -> Iterator[list[Question]]:
    while batch := list(islice(questions, size)):
        yield batch


def _written(batch: Sequence[Question], place: Path) -> list[str]:
    """Write the pictures of a batch over those of the last, and return their paths."""
    paths = []
    for index, question in enumerate(batch):
        path = place / str(index)
        path.write_bytes(question.picture)
        paths.append(str(path))
    return paths


def _ask(
    side: _Side,
    session: MultimodalSession,
    batch: Sequence[Question],
    paths: Sequence[str],
    max_new_tokens: int,
) -> None:
    texts = [question.text for question in batch]
    answers = session.answer(texts, [[path] for path in paths], max_new_tokens=max_new_tokens)
    for question, answer in zip(batch, answers.answers):
        side.add(question, answer.text, answer.token_ids)


def _ask_original(
    side: _Side,
    baseline: HfBaseline,
    session: MultimodalSession,
    batch: Sequence[Question],
    paths: Sequence[str],
    max_new_tokens: int,
) -> None:
    for question, path in zip(batch, paths):
        tokens = baseline.answer(question.text, [open_image(path)], max_new_tokens)
        side.add(question, session.frontend.decode(tokens), tokens)


def _scores(
    task: str,
    samples: int,
    threshold: float | None,
    engines: _Side | None,
    original: _Side | None,
) -> dict[str, Any]:
    accuracy = None if engines is None else engines.accuracy
    scores: dict[str, Any] = {
        "task": task,
        "samples": samples,
        "accuracy": accuracy,
        "baseline": None if original is None else original.accuracy,
        "threshold": threshold,
        "passed": engines is None
        or threshold is None
        # As eval.py: what is compared is not rounded.
        or sum(engines.right) / samples >= threshold / 100,
    }
    if engines is not None and original is not None:
        pairs = zip(engines.tokens, original.tokens)
        scores["same_answers"] = sum(ours == theirs for ours, theirs in pairs)
    return scores


def _answers(
    asked: Sequence[Question], engines: _Side | None, original: _Side | None
) -> dict[str, Any]:
    rows = []
    for index, question in enumerate(asked):
        row: dict[str, Any] = {"question": question.text, "answers": list(question.answers)}
        for name, side in (("engines", engines), ("hf", original)):
            if side is not None:
                row[name] = {
                    "text": side.texts[index],
                    "token_ids": side.tokens[index],
                    "right": side.right[index],
                }
        rows.append(row)
    return {"schema": 1, "questions": rows}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stage; see ``--help``."""
    parser = stage_parser("evaluate", __doc__)
    add_directory(parser, "--engine-dir", "holds the engines as llm/ and vision/")
    add_directory(parser, "--model-dir", "the model that they were built from")
    add_directory(parser, "--dataset-dir", "parquet files, or what save_to_disk wrote")
    add_directory(parser, "--output-dir", f"where {SCORES_FILE} is written")
    parser.add_argument("--task", required=True, metavar="NAME", help=f"one of: {', '.join(TASKS)}")
    parser.add_argument(
        "--max-ite", type=positive, default=20, metavar="N", help="questions (default 20)"
    )
    parser.add_argument(
        "--batch-size", type=positive, default=1, metavar="N", help="asked at once (default 1)"
    )
    parser.add_argument(
        "--max-new-tokens",
        type=positive,
        default=32,
        metavar="N",
        help="most tokens of an answer (default 32)",
    )
    parser.add_argument(
        "--accuracy-threshold", type=float, metavar="P", help="per cent that engines must reach"
    )
    parser.add_argument("--test-engines", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--test-hf", action="store_true", help="ask the original model too")
    flags = parser.parse_args(argv)
    return in_ranks(
        "mmtrt.native.evaluate", argv, flags.engine_dir, lambda: report(lambda: _evaluate(flags))
    )


def _evaluate(flags: argparse.Namespace) -> None:
    evaluate(
        flags.engine_dir,
        flags.model_dir,
        flags.dataset_dir,
        flags.output_dir,
        task_name=flags.task,
        most=flags.max_ite,
        batch_size=flags.batch_size,
        max_new_tokens=flags.max_new_tokens,
        threshold=flags.accuracy_threshold,
        test_engines=flags.test_engines,
        test_hf=flags.test_hf,
    )


if __name__ == "__main__":
    raise SystemExit(main())
