"""The figures of every point of a sweep, while it runs and afterwards: ``results.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmtrt.artifacts.layout import MANIFEST
from mmtrt.artifacts.manifest import Manifest
from mmtrt.errors import ArtifactError
from mmtrt.executor import events
from mmtrt.plan.graph import Node
from mmtrt.plan.merge import Merged, Point
from mmtrt.report.choices import Choices
from mmtrt.report.pareto import axes_of, front
from mmtrt.report.scores import missed_gate
from mmtrt.rules.sweep import Entry, Told

ENGINES = ("build_llm", "build_vision")
"""Kinds of the stages that write engines."""
BUILDS = (*ENGINES, "convert", "quantize", "assemble", "patch")
"""Kinds whose time is building; downloads and measurements are not."""
FIGURES = (
    "engine_bytes",
    "build_seconds",
    "prefill_ms",
    "decode_tokens_per_s",
    "accuracy",
    "peak_rss_bytes",
)


@dataclass(slots=True)
class _State:
    """How a node of the merged plan went so far."""

    status: str = "not_run"
    artifact: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class _Figures:
    """What the output of one node tells."""

    size_bytes: int | None = None
    seconds: float | None = None
    peak_rss_bytes: int | None = None
    document: Mapping[str, Any] = field(default_factory=dict)
    """``result.json`` or ``scores.json``."""


class Results:
    """Listens to a run of merged plans and keeps a row for every point.

    The points of a sweep may come in batches, each with a merged plan of its own.
    """

    def __init__(self, name: str, command: str = "") -> None:
        """Begin without points; ``command`` is the command line, for people."""
        self._head = {"schema": 1, "name": name, "command": command}
        self._entries: dict[str, Entry] = {}
        self._told: list[Told] = []
        self._nodes: dict[str, Node] = {}
        self._states: dict[str, _State] = {}
        self._seen: dict[str, _Figures] = {}
        self._rows: dict[str, dict[str, Any]] = {}
        """Rows of points all of whose stages have ended."""

    def add(self, entries: Sequence[Entry], merged: Merged | None, told: Sequence[Told]) -> None:
        """Take in a batch: its points, the plan that runs now, and what the rules said."""
        self._entries |= {entry.id: entry for entry in entries}
        self._told += told
        self._nodes = {} if merged is None else {node.id: node for node in merged.nodes}
        self._states, self._seen = {name: _State() for name in self._nodes}, {}

    def listen(self, event: events.Event) -> None:
        """Note how a stage went."""
        if isinstance(event, (events.StageHit, events.StageDone)):
            status = "hit" if isinstance(event, events.StageHit) else "done"
            self._states[event.stage] = _State(status, event.artifact)
        elif isinstance(event, events.StageBroke):
            text = "\n".join([f"stage {event.stage} failed: {event.status}", *event.last_lines])
            self._states[event.stage] = _State("failed", None, text)
        elif isinstance(event, events.StageLeft):
            self._states[event.stage] = _State("skipped", None, event.because)

    def close(self) -> None:
        """Keep the rows of the batch that has ended: another may follow, with other nodes."""
        for entry in self._entries.values():
            if entry.id not in self._rows:
                self._rows[entry.id] = self._row(entry)

    def is_settled(self, point: Point) -> bool:
        """Return whether every stage of a point has ended."""
        return all(self._states[node].status != "not_run" for node in point.stages.values())

    def rows(self) -> list[dict[str, Any]]:
        """Return the row of every point, with the Pareto front marked among those that are done."""
        found = []
        for entry in self._entries.values():
            row = self._rows.get(entry.id)
            if row is None:
                row = self._row(entry)
                if entry.point is None or self.is_settled(entry.point):
                    self._rows[entry.id] = row
            found.append(row)
        for row, is_best in zip(found, front(found)):
            row["pareto"] = is_best
        return found

    def row(self, name: str) -> dict[str, Any]:
        """Return the row of one point."""
        return self._rows.get(name) or self._row(self._entries[name])

    @property
    def choices(self) -> Choices:
        """What tells the points apart."""
        return Choices({entry.id: entry.overrides for entry in self._entries.values()})

    def document(self) -> dict[str, Any]:
        """Return ``results.json`` as it stands."""
        choices, rows = self.choices, self.rows()
        for row in rows:
            row["overrides"] = choices.by_point[row["id"]]
        return {
            **self._head,
            "varied": list(choices.varied),
            "pareto_axes": [name for name, _ in axes_of(rows)],
            "points": rows,
            "findings": [
                {**told.finding.to_json(), "points": list(told.points)} for told in self._told
            ],
        }

    def _row(self, entry: Entry) -> dict[str, Any]:
        row: dict[str, Any] = {
            "id": entry.id,
            "overrides": {},
            "recipe": None,
            "variant": None,
            "backend": None,
            "status": "invalid",
            "limits": {},
            **dict.fromkeys(FIGURES),
            "hits": 0,
            "stages": 0,
            "pareto": False,
            "answers": [],
            "artifacts": {},
            "error": entry.error,
        }
        if entry.point is None:
            return row
        return row | self._ran(entry.point)

    def _ran(self, point: Point) -> dict[str, Any]:
        states = {stage: self._states[node] for stage, node in point.stages.items()}
        made = {
            stage: self._figures(point.stages[stage])
            for stage, state in states.items()
            if state.artifact is not None
        }
        kinds = {stage: self._nodes[node].kind for stage, node in point.stages.items()}
        engines = [
            made[stage] for stage, kind in kinds.items() if kind in ENGINES and stage in made
        ]
        builds = [made[stage] for stage, kind in kinds.items() if kind in BUILDS and stage in made]
        asked = [made[s] for s, kind in kinds.items() if kind in ("run", "serve") and s in made]
        scored = [
            {"stage": stage, **made[stage].document}
            for stage, kind in kinds.items()
            if kind == "eval" and stage in made
        ]
        broken = next((s.error for s in states.values() if s.status == "failed"), None)
        gate = missed_gate(scored)
        return {
            "recipe": point.recipe,
            "variant": point.variant,
            "backend": point.backend,
            "status": _status([state.status for state in states.values()]),
            "limits": dict(point.limits),
            "engine_bytes": _sum([each.size_bytes for each in engines]),
            "build_seconds": _rounded(_sum([each.seconds for each in builds])),
            **_speeds(asked),
            "accuracy": next(
                (s["accuracy"] for s in scored if s.get("accuracy") is not None), None
            ),
            "peak_rss_bytes": next((each.peak_rss_bytes for each in asked), None),
            "hits": sum(state.status == "hit" for state in states.values()),
            "stages": len(states),
            "answers": [
                str(request.get("text", ""))
                for each in asked
                for request in each.document.get("requests") or ()
            ],
            "artifacts": {s: state.artifact for s, state in states.items() if state.artifact},
            "error": broken or (None if gate is None else gate.render()),
            "gate_missed": gate is not None,
        }

    def _figures(self, node: str) -> _Figures:
        """Return what an output tells; each is looked at once, however many points share it."""
        if node not in self._seen:
            self._seen[node] = _read(Path(str(self._states[node].artifact)), self._nodes[node].kind)
        return self._seen[node]


def _read(artifact: Path, kind: str) -> _Figures:
    try:
        manifest = Manifest.read(artifact.parent / MANIFEST)
    except ArtifactError:
        return _Figures()  # gone since: a figure less
    name = {"run": "result.json", "serve": "result.json", "eval": "scores.json"}.get(kind)
    document: Any = {}
    if name is not None:
        try:
            document = json.loads((artifact / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            document = {}
    return _Figures(
        sum(entry.size for entry in manifest.files),
        manifest.seconds,
        manifest.peak_rss_bytes,
        document if isinstance(document, dict) else {},
    )


def _status(states: Sequence[str]) -> str:
    """Return how a point went: a stage that failed counts most, then one that was left out."""
    for status in ("failed", "skipped", "not_run"):
        if status in states:
            return status
    return "done"


def _speeds(asked: Sequence[_Figures]) -> dict[str, Any]:
    """Return prefill and decode speed; decoding counts the tokens of all requests of a batch."""
    document = next((each.document for each in asked), {})
    timings = document.get("timings") or {}
    requests, per_token = document.get("requests") or (), timings.get("decode_ms_per_token")
    speed = round(1000 * max(1, len(requests)) / per_token, 3) if per_token else None
    return {"prefill_ms": timings.get("prefill_ms"), "decode_tokens_per_s": speed}


def _sum(values: Sequence[Any]) -> Any:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
