"""The tasks of the multimodal README: their columns, how a row is asked, which answer is right.

Source: TensorRT-LLM 1.2, ``examples/models/core/multimodal/eval.py``, and the data sets' own
columns on the hub. A question is put into the family's own prompt, as ``run`` does it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmtrt.native.errors import NativeError


@dataclass(frozen=True, kw_only=True)
class Task:
    """One layout of rows."""

    name: str
    """The value of ``eval.task``: the data set's name on the hub."""
    split: str
    """Part of the data set that is asked; file names say which part they hold."""
    columns: tuple[str, ...]
    """Columns that are read."""


TASKS = {
    task.name: task
    for task in (
        Task(
            name="lmms-lab/ai2d",
            split="test",
            columns=("question", "options", "answer", "image"),
        ),
        Task(
            name="lmms-lab/VQAv2",
            split="validation",
            columns=("question", "answers", "image"),
        ),
        Task(name="lmms-lab/MME", split="test", columns=("question", "answer", "image")),
    )
}


@dataclass(frozen=True, kw_only=True)
class Question:
    """One row of a data set."""

    text: str
    """As ``eval.py`` words it, the prompt around it left out."""
    answers: tuple[str, ...]
    """Any of them makes an answer right."""
    picture: bytes
    """A file of any format."""

    def is_right(self, answer: str) -> bool:
        """Return whether the answer holds one of those that are known, as ``eval.py`` compares."""
        said = answer.strip().lower()
        return any(known in said for known in self.answers)


def task_of(name: str) -> Task:
    """Return a task.

    Raises:
        NativeError: EVL201, if there is none of this name.
    """
    if name not in TASKS:
        raise NativeError(
            f"no such task: {name}", code="EVL201", fix=f"use one of: {', '.join(TASKS)}"
        )
    return TASKS[name]


def question_of(task: Task, row: Mapping[str, Any], picture: bytes) -> Question:
    """Return a row as it is asked.

    Raises:
        NativeError: EVL204, if the row has no question or no answer.
    """
    text = row["question"]
    if not isinstance(text, str) or not text:
        raise NativeError("a row has no question", code="EVL204")
    text = text if text.endswith("?") else f"{text}?"
    for index, option in enumerate(row.get("options") or ()):
        text += f" ({index}) {option}"
    if "answers" in task.columns:
        # Not lower case, as eval.py: the answers of this data set are.
        answers = [each.get("answer") for each in row["answers"] or ()]
    else:
        answers = [row["answer"] and str(row["answer"]).lower()]
    known = tuple(answer for answer in answers if answer)
    if not known:
        raise NativeError(
            f"the question {text!r} has no answer",
            code="EVL204",
            why="parts of some data sets are published without",
            fix=f"take files of the part {task.split}",
        )
    return Question(text=text, answers=known, picture=picture)
