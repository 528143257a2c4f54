"""From the record of a run to a report: whatever is there is read, whatever is missing is left out.

A record may be whole, or the run was killed and it ends anywhere. Nothing here renders text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from mmtrt.artifacts.layout import ALIVE, MANIFEST, STDERR, STDOUT
from mmtrt.artifacts.locks import is_free
from mmtrt.artifacts.manifest import Manifest
from mmtrt.errors import ArtifactError

BETWEEN_STAGES_S = 5.0
"""While no stage runs, a record whose newest event is older than this was cut off (*chosen*: the
loop looks for the next stage ten times a second)."""


@dataclass(frozen=True, kw_only=True)
class StageRow:
    """How one stage went."""

    id: str
    kind: str
    status: str
    """``hit``, ``done``, ``failed``, ``skipped``, ``running``, ``interrupted``, ``not started``."""
    seconds: float | None = None
    size_bytes: int | None = None
    peak_rss_bytes: int | None = None
    key: str | None = None
    artifact: str | None = None
    reasons: tuple[str, ...] = ()
    """Why it ran, as sentences; why it was skipped or failed."""
    logs: tuple[str, ...] = ()
    """Paths of standard output and standard error, those that are there."""
    attempts: int = 1
    argv: tuple[str, ...] = ()
    repeat: str | None = None
    """A shell line that runs a failed stage again."""
    needs: tuple[str, ...] = ()
    """Ids of the stages whose output it reads."""
    begun_s: float | None = None
    """When it was started for the last time, or taken from the store: seconds into the run."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """One run."""

    run: str
    """Directory of the record."""
    recipe: str
    variant: str | None = None
    backend: str | None = None
    toolchain: Mapping[str, str] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    started: str | None = None
    """UTC, ISO 8601."""
    seconds: float | None = None
    status: str = "interrupted"
    """``done``, ``failed``, ``running`` or ``interrupted``."""
    error: str | None = None
    """The message that ended the run, if it did not end by itself."""
    stages: tuple[StageRow, ...] = ()
    limits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Name -> value, source and because, as in ``plan --json``."""
    features_per_request: int | None = None
    findings: tuple[Mapping[str, Any], ...] = ()
    results: tuple[Mapping[str, Any], ...] = ()
    """Each request: prompt, images, text."""
    timings: Mapping[str, Any] = field(default_factory=dict)
    scores: tuple[Mapping[str, Any], ...] = ()
    """Each evaluation: task, samples, accuracy, baseline, threshold, passed."""
    host: Mapping[str, Any] = field(default_factory=dict)

    def stage(self, name: str) -> StageRow | None:
        """Return a stage by id."""
        return next((row for row in self.stages if row.id == name), None)


def collect(run_dir: Path, now: Callable[[], datetime] | None = None) -> Report:
    """Read the record of one run.

    Args:
        run_dir: ``<paths.runs>/<utc>-<recipe>``; any of its files may be missing or cut off.
        now: the clock; between two stages only time tells a run that goes on from a killed one.
    """
    from mmtrt.report.runs import recipe_of

    plan = _document(run_dir / "plan.json")
    result = _document(run_dir / "result.json")
    events = _events(run_dir / "events.jsonl")
    status = _status(result, events, now)
    rows = tuple(_rows(plan, result, events, status))
    answer = _answer(result, rows)
    ended = [e for e in events if e["type"] == "run_ended"]
    timed = [e["t"] for e in events if isinstance(e.get("t"), (int, float))]
    return Report(
        run=str(run_dir),
        recipe=plan.get("recipe") or recipe_of(run_dir.name) or run_dir.name,
        variant=plan.get("variant"),
        backend=plan.get("backend"),
        toolchain=_mapping(plan.get("toolchain")),
        overrides=tuple(plan.get("overrides") or ()),
        started=next((e["time"] for e in events if "time" in e), None),
        seconds=result.get("seconds")
        or (ended[-1].get("seconds") if ended else max(timed, default=None)),
        status=status,
        error=result.get("error"),
        stages=rows,
        limits=_mapping(plan.get("limits")),
        features_per_request=plan.get("visual_features_per_request"),
        findings=tuple(plan.get("findings") or ()),
        results=tuple(answer.get("requests") or ()),
        timings=_mapping(answer.get("timings")),
        scores=_scores(result, rows),
        host=_host(plan, rows),
    )


def _document(path: Path) -> dict[str, Any]:
    """Return a JSON object; empty if there is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return _mapping(document)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _events(path: Path) -> list[dict[str, Any]]:
    """Return the events; a line that was cut off is left out."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    events = []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and isinstance(event.get("type"), str):
            events.append(event)
    return events


def _status(
    result: Mapping[str, Any], events: list[dict[str, Any]], now: Callable[[], datetime] | None
) -> str:
    if result.get("status"):
        return str(result["status"])
    for event in reversed(events):
        if event["type"] == "run_ended":
            return str(event.get("status"))
    if _lives(events) or _is_fresh(events, now):
        return "running"
    return "interrupted"


def _lives(events: list[dict[str, Any]]) -> bool:
    """Return whether a stage that was started still has its staging directory locked."""
    logs = {}
    for event in events:
        if event["type"] == "stage_started":
            logs[event.get("stage")] = event.get("log")
        elif event["type"] in ("stage_done", "stage_failed"):
            logs.pop(event.get("stage"), None)
    return any(log and not _is_free(Path(log).parent / ALIVE) for log in logs.values())


def _is_free(path: Path) -> bool:
    try:
        return is_free(path)
    except OSError:
        return True


def _is_fresh(events: list[dict[str, Any]], now: Callable[[], datetime] | None) -> bool:
    if not events or events[-1]["type"] == "stage_started":
        return False
    try:
        newest = datetime.fromisoformat(events[-1]["time"])
    except (KeyError, TypeError, ValueError):
        return False
    present = now() if now is not None else datetime.now(newest.tzinfo)
    patience = BETWEEN_STAGES_S + float(events[-1].get("wait_s") or 0)
    return (present - newest).total_seconds() < patience


def _rows(
    plan: Mapping[str, Any],
    result: Mapping[str, Any],
    events: list[dict[str, Any]],
    status: str,
) -> list[StageRow]:
    """Merge what was planned with what happened."""
    planned = {row["id"]: row for row in plan.get("stages") or () if "id" in row}
    ids = dict.fromkeys(planned)
    for event in events:
        ids |= dict.fromkeys(event.get("stages") or ()) if event["type"] == "run_started" else {}
        if "stage" in event:
            ids[event["stage"]] = None
    ids |= dict.fromkeys(row["id"] for row in result.get("stages") or () if "id" in row)
    return [
        _row(
            name,
            planned.get(name, {}),
            [event for event in events if event.get("stage") == name],
            status,
        )
        for name in ids
    ]


def _row(
    name: str, planned: Mapping[str, Any], events: list[dict[str, Any]], run_status: str
) -> StageRow:
    facts: dict[str, Any] = {}
    for event in events:
        facts |= {"attempts": event.get("attempt", 1)} if event["type"] == "stage_started" else {}
        if event["type"] in ("stage_started", "stage_hit"):
            facts["begun_s"] = event.get("t")
        facts |= {k: v for k, v in event.items() if k not in ("reasons", "attempt")}
        if event["type"] == "stage_started":
            facts["reasons"] = event.get("reasons")
    last = next((e["type"] for e in reversed(events) if e["type"] in _STATUS), None)
    status = _STATUS.get(last or "", "skipped" if planned.get("status") == "skip" else None)
    if status is None:
        status = "not started"
    if status == "running" and run_status != "running":
        status = "interrupted"
    reasons = [_sentence(r) for r in facts.get("reasons") or planned.get("reasons") or ()]
    if status == "hit":
        reasons = []
    elif status == "failed":
        reasons = [str(facts.get("status") or "failed")]
    elif status == "skipped":
        reasons = [str(facts.get("because") or planned.get("skip") or "")]
    artifact = facts.get("artifact")
    manifest = _manifest(artifact)
    size = facts.get("size_bytes")
    if size is None and manifest is not None:
        size = sum(entry.size for entry in manifest.files)
    return StageRow(
        id=name,
        kind=str(facts.get("kind") or planned.get("kind") or name),
        status=status,
        seconds=facts.get("seconds", 0.0 if status == "hit" else None),
        size_bytes=size,
        peak_rss_bytes=facts.get("peak_rss_bytes"),
        key=facts.get("key") or planned.get("key"),
        artifact=artifact,
        reasons=tuple(reason for reason in reasons if reason),
        logs=_logs(artifact, facts.get("log")),
        attempts=facts.get("attempts", 1),
        argv=tuple(facts.get("argv") or planned.get("argv") or ()),
        repeat=facts.get("repeat"),
        needs=tuple(planned.get("needs") or ()),
        begun_s=facts.get("begun_s"),
    )


_STATUS = {
    "stage_hit": "hit",
    "stage_started": "running",
    "stage_retries": "running",
    "stage_done": "done",
    "stage_failed": "failed",
    "stage_left": "skipped",
}


def _sentence(reason: Mapping[str, Any]) -> str:
    """Return a reason in words; one that a newer mmtrt wrote is told by its type."""
    from mmtrt.plan import stale  # a run of hits has no reasons to tell

    kinds = {kind.type: kind for kind in stale.Reason.__subclasses__()}
    name = str(reason.get("type", ""))
    try:
        fields = {key: value for key, value in reason.items() if key != "type"}
        return kinds[name](**fields).sentence()
    except (KeyError, TypeError, AttributeError):
        return name.replace("_", " ")


def _manifest(artifact: str | None) -> Manifest | None:
    """Return what an artifact says of itself, unless it is gone or damaged."""
    if artifact is None:
        return None
    try:
        return Manifest.read(Path(artifact).parent / MANIFEST)
    except ArtifactError:
        return None


def _logs(artifact: str | None, log: str | None) -> tuple[str, ...]:
    """Return the log files that are still there; a published artifact took them along."""
    for directory in (
        Path(artifact).parent if artifact else None,
        Path(log).parent if log else None,
    ):
        if directory is not None:
            found = [directory / name for name in (STDOUT, STDERR)]
            if any(path.is_file() for path in found):
                return tuple(str(path) for path in found if path.is_file())
    return ()


def _answer(result: Mapping[str, Any], rows: tuple[StageRow, ...]) -> dict[str, Any]:
    """Return the answer: from the record, or from the artifact of the stage that asked."""
    if answer := _mapping(result.get("result")):
        return answer
    for row in rows:
        if row.kind in ("run", "serve") and row.artifact and row.status in ("done", "hit"):
            return _document(Path(row.artifact) / "result.json")
    return {}


def _scores(result: Mapping[str, Any], rows: tuple[StageRow, ...]) -> tuple[Mapping[str, Any], ...]:
    """Return what evaluations found: from the record, or from their artifacts."""
    if recorded := result.get("scores"):
        return tuple(_mapping(row) for row in recorded)
    return tuple(
        {"stage": row.id, **document}
        for row in rows
        if row.kind == "eval" and row.artifact and row.status in ("done", "hit")
        if (document := _document(Path(row.artifact) / "scores.json"))
    )


def _host(plan: Mapping[str, Any], rows: tuple[StageRow, ...]) -> dict[str, Any]:
    """Return the machine: from the record, else from what this run built."""
    if host := _mapping(plan.get("host")):
        return host
    for row in rows:
        if row.status == "done" and (manifest := _manifest(row.artifact)) is not None:
            return manifest.host
    return {}
