"""One point of a recorded sweep, told as if it had run by itself."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmtrt.errors import UsageError
from mmtrt.report.choices import Choices, choices_of, spoken
from mmtrt.report.collect import Report, StageRow
from mmtrt.report.results import is_sweep, read_results

LISTED = 12
"""Points that a message names; `mmtrt report` shows all (*chosen*)."""


def points_of(run_dir: Path) -> list[dict[str, Any]]:
    """Return the points of a sweep as its record planned them; none of another run."""
    points = _document(run_dir / "plan.json").get("points")
    return [point for point in points or () if isinstance(point, dict) and "id" in point]


def find_point(run_dir: Path, name: str) -> dict[str, Any]:
    """Return the point that a name stands for.

    Args:
        run_dir: the record of a sweep.
        name: the number of a point, or overrides that only one point has, such as
            ``quant=int4_wo tp=2``.

    Raises:
        UsageError: CFG003, if the run is no sweep, or no point or several have the name.
    """
    points = points_of(run_dir)
    if not points:
        if is_sweep(run_dir):
            raise UsageError(
                f"the points of {run_dir.name} are not known",
                code="CFG003",
                at=str(run_dir / "plan.json"),
                why="the record of its plan is gone or damaged",
                fix="run the sweep again; what it made comes from the store",
            )
        raise UsageError(
            f"{run_dir.name} is no sweep",
            code="CFG003",
            why="only the points of a sweep have numbers",
            fix="leave the point out",
        )
    asked = choices_of(name.split())
    found = [
        point
        for point in points
        if point["id"] == name or ("=" in name and _has(point["overrides"], asked))
    ]
    if len(found) == 1:
        return found[0]
    every, meant = labels_of(points), [point["id"] for point in found or points]
    labels = {key: every[key] for key in meant}
    near = difflib.get_close_matches(name, labels.values(), 1, 0.6)
    first = next((key for key, label in labels.items() if label in near), next(iter(labels)))
    what = f"{len(found)} points of {run_dir.name} are" if found else f"{run_dir.name} has no point"
    raise UsageError(
        f"{what} {name!r}",
        code="CFG003",
        why=f"there are\n{listed(labels)}",
        fix=f"{run_dir.name}:{first}",
    )


def labels_of(points: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return id -> what tells a point from the others."""
    choices = Choices({point["id"]: words_of(point) for point in points})
    return {point["id"]: choices.label(point["id"]) for point in points}


def listed(labels: Mapping[str, str]) -> str:
    """Return points as indented lines, the first of them."""
    width = max(map(len, labels), default=0)
    lines = [f"    {name:>{width}}  {label}" for name, label in [*labels.items()][:LISTED]]
    more = len(labels) - len(lines)
    return "\n".join([*lines, *([f"    and {more} more: mmtrt report"] if more > 0 else ())])


def words_of(point: Mapping[str, Any]) -> list[str]:
    """Return the overrides of a point as they were typed, as far as its record says that."""
    if "words" in point:
        return list(point["words"])
    return [f"{key}={spoken(value)}" for key, value in point["overrides"].items()]


def of_point(whole: Report, point: Mapping[str, Any]) -> Report:
    """Return the report of one point.

    Args:
        whole: of the sweep, whose stages are the nodes of the merged plan.
        point: as :func:`find_point` returns it.

    Raises:
        UsageError: CFG003, if the point could not run.
    """
    run_dir = Path(whole.run)
    if "stages" not in point:
        raise UsageError(
            f"point {point['id']} of {run_dir.name} was left out: it cannot run",
            code="CFG003",
            why=str(point.get("error") or ""),
        )
    nodes: Mapping[str, str] = point["stages"]
    stages = {node: stage for stage, node in nodes.items()}
    rows = tuple(
        replace(
            row,
            id=stages[row.id],
            needs=tuple(stages.get(need, need) for need in row.needs),
            reasons=tuple(_in_stages(reason, stages) for reason in row.reasons),
        )
        for row in whole.stages
        if row.id in stages
    )
    answer = _of_artifact(rows, ("run", "serve"), "result.json")
    ended: list[dict[str, Any]] = read_results(run_dir).get("points") or []
    result = next((row for row in ended if row["id"] == point["id"]), {})
    return replace(
        whole,
        recipe=point["recipe"],
        variant=point["variant"],
        backend=point["backend"],
        toolchain=point.get("toolchain") or {},
        overrides=tuple(words_of(point)),
        status=str(result.get("status") or whole.status).replace("_", " "),
        error=result.get("error"),
        seconds=sum(row.seconds or 0.0 for row in rows),
        stages=rows,
        limits={name: {"value": value} for name, value in point["limits"].items()},
        features_per_request=point.get("visual_features_per_request"),
        findings=tuple(row for row in whole.findings if point["id"] in row.get("points", ())),
        results=tuple(answer.get("requests") or ()),
        timings=answer.get("timings") or {},
        scores=tuple(
            {"stage": row.id, **document}
            for row in rows
            if row.kind == "eval" and (document := _of_artifact([row], ("eval",), "scores.json"))
        ),
    )


def _in_stages(reason: str, stages: Mapping[str, str]) -> str:
    """Return a sentence with the names that the recipe has for nodes, such as ``build_llm.3``."""
    return re.sub(r"[\w.-]+", lambda word: stages.get(word[0], word[0]), reason)


def _has(overrides: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    return all(
        key in overrides and spoken(overrides[key]) == spoken(value) for key, value in asked.items()
    )


def _of_artifact(rows: Sequence[StageRow], kinds: Sequence[str], name: str) -> dict[str, Any]:
    for row in rows:
        if row.kind in kinds and row.artifact and row.status in ("done", "hit"):
            return _document(Path(row.artifact) / name)
    return {}


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
