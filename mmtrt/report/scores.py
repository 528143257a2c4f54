"""What evaluations found, and whether a threshold was missed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmtrt.errors import GateMissed

if TYPE_CHECKING:
    from mmtrt.executor.loop import StageResult


def scores_of(stages: Sequence[StageResult]) -> list[dict[str, Any]]:
    """Return the ``scores.json`` of every ``eval`` stage, with the stage's id."""
    found = []
    for stage in stages:
        if stage.kind == "eval" and stage.artifact is not None:
            path = stage.artifact / "scores.json"
            if path.exists():
                found.append({"stage": stage.id, **json.loads(path.read_text(encoding="utf-8"))})
    return found


def missed_gate(scores: Sequence[Mapping[str, Any]]) -> GateMissed | None:
    """Return the error of the accuracy gates that were missed; ``None`` if there are none."""
    missed = [
        GateMissed(
            f"{row['task']}: accuracy {row['accuracy']:g} % is below {row['threshold']:g} %",
            code="EVL101",
            why=f"stage {row['stage']} asked {row['samples']} questions"
            + (f"; Hugging Face reached {row['baseline']:g} %" if row.get("baseline") else ""),
            fix="choose another quant or dtype, or lower eval.accuracy_threshold",
        )
        for row in scores
        if not row.get("passed", True)
    ]
    if not missed:
        return None
    missed[0].also.extend(missed[1:])
    return missed[0]


def score_line(row: Mapping[str, Any]) -> str:
    """Return one evaluation as a line for people."""
    parts = []
    if row.get("accuracy") is not None:
        parts.append(f"accuracy {row['accuracy']:g} %")
    if row.get("baseline") is not None:
        parts.append(f"Hugging Face {row['baseline']:g} %")
    if row.get("threshold") is not None:
        parts.append(f"threshold {row['threshold']:g} % {'met' if row['passed'] else 'missed'}")
    asked = f"{row.get('samples')} questions"
    if row.get("same_answers") is not None:
        asked += f", {row['same_answers']} answered alike"
    return f"{row.get('task')}: {', '.join(parts)} ({asked})"
