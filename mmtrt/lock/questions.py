"""Ask the hub, git servers and pip; their libraries run in a process of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, TypeAlias

from mmtrt.errors import HostError, MmtrtError, RecipeError

Question: TypeAlias = Mapping[str, Any]
"""As ``python -m mmtrt.tasks.resolve --help`` describes it."""


def ask(questions: Mapping[str, Question]) -> dict[str, Any]:
    """Return the answer to each question, by the same names.

    Raises:
        HostError: LCK104, if the process itself fails.
    """
    done = subprocess.run(
        [sys.executable, "-m", "mmtrt.tasks.resolve"],
        input=json.dumps(questions),
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise HostError(
            "the process that resolves names failed",
            code="LCK104",
            why=done.stderr.strip()[-2000:] or f"exit status {done.returncode}",
        )
    answers: dict[str, Any] = json.loads(done.stdout)
    return answers


def unresolved(
    entry: str, questions: Mapping[str, Question], failures: Mapping[str, Mapping[str, Any]]
) -> MmtrtError:
    """Return one error that names everything that cannot be resolved.

    Args:
        entry: ``recipe/variant``.
        questions: what was asked, by stage.
        failures: the error of each stage that got no answer.
    """
    is_outside = all(error["is_temporary"] for error in failures.values())
    kind: type[MmtrtError] = HostError if is_outside else RecipeError
    names = [f"{name} ({_title(questions[name])})" for name in failures]
    first = kind(
        f"{entry} cannot be locked: it is not known what {', '.join(names)} "
        f"stand{'s' * (len(names) == 1)} for",
        code="LCK104",
        why="neither the lock nor the store says it, and asking failed",
        fix="lock where there is a network, or after a run on this machine; the lock can be used "
        "anywhere"
        if is_outside
        else "correct what the errors below name",
    )
    first.also = [
        kind(f"{name}: {error['message']}", error["code"], None, error["why"], error["fix"])
        for name, error in failures.items()
    ]
    return first


def _title(question: Question) -> str:
    if question["kind"] == "pip":
        return ", ".join([*question["requirements"], *question["files"]])
    return f"{question.get('repo') or question.get('url')} at {question['revision']}"
