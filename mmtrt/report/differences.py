"""In what two runs, or two artifacts, differ: keys, files, answers, times, scores.

Data only; ``mmtrt diff`` prints it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmtrt.artifacts.compare import compare_files, fields_that_differ
from mmtrt.artifacts.store import Artifact
from mmtrt.plan.stale import comparable, reasons_between
from mmtrt.report.collect import Report
from mmtrt.report.rebuilds import reproducible
from mmtrt.report.targets import RunTarget


def differences(old: RunTarget | Artifact, new: RunTarget | Artifact) -> dict[str, Any]:
    """Return what ``mmtrt diff --json`` prints.

    A run beside an artifact is compared by the run's stage of the artifact's kind and name.
    """
    if isinstance(old, RunTarget) and isinstance(new, RunTarget):
        return _of_runs(old, new)
    one, other = _as_artifact(old, new), _as_artifact(new, old)
    stage = one.manifest.stage
    rows = [_stage(stage, one, other)]
    results = _results(_documents([one]), _documents([other]))
    return {
        "schema": 1,
        "old": _title(old),
        "new": _title(new),
        "same": all(map(_is_same, rows)) and not results["answers"] and not results["scores"],
        "settings": [],
        "stages": rows,
        **results,
    }


def _title(target: RunTarget | Artifact) -> str:
    if isinstance(target, RunTarget):
        return target.title
    return f"{target.kind}/{target.key}"


def _as_artifact(target: RunTarget | Artifact, beside: RunTarget | Artifact) -> Artifact:
    if isinstance(target, Artifact):
        return target
    assert isinstance(beside, Artifact)
    stage = beside.manifest.stage
    if stage not in target.artifacts:
        stage = next((n for n, a in target.artifacts.items() if a.kind == beside.kind), stage)
    return target.one(stage)


def _of_runs(old: RunTarget, new: RunTarget) -> dict[str, Any]:
    ids = dict.fromkeys([*_ids(old), *_ids(new)])
    stages = [_stage(name, old.artifacts.get(name), new.artifacts.get(name)) for name in ids]
    for row in stages:
        for side, run in (("old", old), ("new", new)):
            found = run.report.stage(row["stage"])
            row[f"{side}_status"] = None if found is None else found.status
    settings = _settings(old.report, new.report)
    results = _results(
        {"requests": old.report.results, "timings": old.report.timings, "scores": _s(old.report)},
        {"requests": new.report.results, "timings": new.report.timings, "scores": _s(new.report)},
    )
    return {
        "schema": 1,
        "old": old.title,
        "new": new.title,
        # Settings that matter show in what came out; force= and a machine's name do not.
        "same": all(map(_is_same, stages)) and not results["answers"] and not results["scores"],
        "settings": settings,
        "stages": stages,
        **results,
    }


def _is_same(row: Mapping[str, Any]) -> bool:
    """Return whether a row tells of no difference; of measured times the answers tell."""
    if row["output"] in ("same", "absent"):
        return True
    return row["output"] == "differs" and reproducible(row["kind"]) == "no" and not row["key"]


def _ids(run: RunTarget) -> list[str]:
    return [row.id for row in run.report.stages]


def _s(report: Report) -> list[Mapping[str, Any]]:
    return list(report.scores)


def _settings(old: Report, new: Report) -> list[dict[str, Any]]:
    """Return what was asked for, and what was derived, where it differs."""

    def facts(report: Report) -> dict[str, Any]:
        return {
            "recipe": report.recipe,
            "variant": report.variant,
            "backend": report.backend,
            "toolchain": dict(report.toolchain),
            "override": dict(_split(each) for each in report.overrides),
            "limits": {name: row.get("value") for name, row in report.limits.items()},
            "visual_features_per_request": report.features_per_request,
            "host": {k: v for k, v in report.host.items() if k != "ram_bytes"},
            "status": report.status,
        }

    return _fields(facts(old), facts(new))


def _split(override: str) -> tuple[str, str]:
    key, _, value = override.partition("=")
    return key, value


def _fields(old: Any, new: Any) -> list[dict[str, Any]]:
    return [
        {"field": path, "old": was, "new": now} for path, was, now in fields_that_differ(old, new)
    ]


def _stage(name: str, old: Artifact | None, new: Artifact | None) -> dict[str, Any]:
    """Return one row: whether the outputs are the same, and if not, why and in what."""
    row: dict[str, Any] = {"stage": name, "kind": (old or new) and (old or new).kind}  # type: ignore[union-attr] # checked before
    row |= {"output": "same", "key": [], "reasons": [], "files": [], "sides": {}}
    for side, artifact in (("old", old), ("new", new)):
        row["sides"][side] = artifact and {
            "key": artifact.key,
            "digest": artifact.manifest.digest,
            "size_bytes": sum(entry.size for entry in artifact.manifest.files),
            "seconds": artifact.manifest.seconds,
            "peak_rss_bytes": artifact.manifest.peak_rss_bytes,
        }
    if old is None or new is None:
        row["output"] = "absent" if old is new else "added" if old is None else "missing"
        return row
    if old.key != new.key:
        was, now = old.manifest.key_document, new.manifest.key_document
        row["key"] = _fields(*comparable(was, now))
        row["reasons"] = [reason.sentence() for reason in reasons_between(was, now)]
    files = compare_files(old.manifest.files, new.manifest.files)
    row["files"] = [asdict(each) for each in files]
    row["output"] = "differs" if files else "same"
    return row


def _documents(artifacts: Sequence[Artifact]) -> dict[str, Any]:
    """Return requests, timings and scores that lie in artifacts."""
    found: dict[str, Any] = {"requests": [], "timings": {}, "scores": []}
    for artifact in artifacts:
        result = _read(artifact.path / "result.json")
        found["requests"] += result.get("requests") or []
        found["timings"] |= result.get("timings") or {}
        if scores := _read(artifact.path / "scores.json"):
            found["scores"].append({"stage": artifact.manifest.stage, **scores})
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _results(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return answers and scores that differ, and all times, with new : old."""
    answers = []
    before, after = list(old["requests"]), list(new["requests"])
    for index in range(max(len(before), len(after))):
        was = before[index] if index < len(before) else {}
        now = after[index] if index < len(after) else {}
        fields = [
            row
            for row in _fields(was, now)
            if row["field"].partition(".")[0].partition("[")[0]
            in ("prompt", "images", "text", "token_ids", "finish_reason")
        ]
        if fields:
            row = {"request": index, "old": was.get("text"), "new": now.get("text")}
            answers.append(row | {"fields": fields, "first_token": _first_token(was, now)})
    timings = [
        {"name": name, "old": was, "new": now, "ratio": _ratio(was, now)}
        for name in dict.fromkeys([*old["timings"], *new["timings"]])
        if name.endswith(("_ms", "_ms_per_token", "_s"))
        for was, now in [(old["timings"].get(name), new["timings"].get(name))]
    ]
    rows = {row.get("stage") or row.get("task"): row for row in old["scores"]}
    others = {row.get("stage") or row.get("task"): row for row in new["scores"]}
    scores = [
        {"stage": name, **each}
        for name in dict.fromkeys([*rows, *others])
        for each in _fields(dict(rows.get(name, {})), dict(others.get(name, {})))
    ]
    return {"answers": answers, "timings": timings, "scores": scores}


def _first_token(old: Mapping[str, Any], new: Mapping[str, Any]) -> int | None:
    """Return the place of the first token that differs; ``None`` if there are no ids, or none."""
    was, now = old.get("token_ids") or [], new.get("token_ids") or []
    if not was or not now or was == now:
        return None
    common = min(len(was), len(now))
    return next((i for i in range(common) if was[i] != now[i]), common)


def _ratio(old: Any, new: Any) -> float | None:
    if not isinstance(old, (int, float)) or not isinstance(new, (int, float)) or not old:
        return None
    return round(new / old, 4)
