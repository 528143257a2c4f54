"""Execute a checked plan and keep its record: what the command line and the library share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmtrt.artifacts.store import Store
from mmtrt.errors import GateMissed, Interrupted, MmtrtError
from mmtrt.executor.events import Listener
from mmtrt.executor.loop import RunResult, execute
from mmtrt.plan.assess import Assessment, assess
from mmtrt.report.collect import collect
from mmtrt.report.plan_view import plan_json
from mmtrt.report.record import RunRecord
from mmtrt.report.render import to_markdown
from mmtrt.report.scores import missed_gate, scores_of
from mmtrt.rules.check import CheckedPlan


@dataclass(frozen=True)
class RecordedRun:
    """A run that has ended, and where its record lies."""

    result: RunResult
    document: Mapping[str, Any]
    """What ``mmtrt run --json`` promises."""
    directory: Path | None
    """``None`` where no record could be written."""
    warning: str | None = None

    @property
    def missed_gate(self) -> GateMissed | None:
        """The error of an accuracy gate that was missed."""
        return missed_gate(self.document["scores"])


def run_recorded(
    checked: CheckedPlan,
    store: Store,
    listeners: tuple[Listener, ...] = (),
    assessment: Assessment | None = None,
    data: Mapping[str, Any] | None = None,
) -> RecordedRun:
    """Run what the store lacks and write the record below ``paths.runs``.

    Args:
        checked: the plan.
        store: where outputs are looked up and published.
        listeners: called with every event, besides the record.
        assessment: the verdicts that the user was shown.
        data: the composed configuration, for ``resolved.yaml``.

    Raises:
        MmtrtError: whatever :func:`mmtrt.executor.loop.execute` raises; the record tells of it.
    """
    recipe = checked.plan.recipe
    assessment = assessment or assess(checked.plan, store)
    record = RunRecord(Path(recipe.settings.paths.runs), recipe.name)
    try:
        record.write("plan.json", plan_json(assessment, checked.findings))
        if data is not None:
            record.write_yaml("resolved.yaml", data)
        try:
            result = execute(checked, store, (record.listen, *listeners), assessment=assessment)
        except MmtrtError as error:
            status = "interrupted" if isinstance(error, Interrupted) else "failed"
            record.write("result.json", {"schema": 1, "status": status, "error": error.render()})
            raise
        document = result_json(result, record.path)
        record.write("result.json", document)
    finally:
        record.close()
    if record.path is not None:
        record.write_text("report.md", to_markdown(collect(record.path)))
    return RecordedRun(result, document, record.path, record.warning)


def result_json(result: RunResult, run_dir: Path | None) -> dict[str, Any]:
    """Return what ``mmtrt run --json`` promises (design.md section 4)."""
    return {
        "schema": 1,
        "run": None if run_dir is None else str(run_dir),
        "status": "failed" if result.failures else "done",
        "seconds": round(result.seconds, 3),
        "stages": [
            {
                "id": stage.id,
                "kind": stage.kind,
                "status": stage.status,
                "seconds": round(stage.seconds, 3),
                "artifact": None if stage.artifact is None else str(stage.artifact),
                "error": None if stage.error is None else stage.error.render(),
            }
            for stage in result.stages
        ],
        "result": _answer(result),
        "scores": scores_of(result.stages),
    }


def _answer(result: RunResult) -> dict[str, Any] | None:
    """Return the ``result.json`` of the stage that asked the model, if there is one."""
    for stage in result.stages:
        if stage.kind in ("run", "serve") and stage.artifact is not None:
            path = stage.artifact / "result.json"
            if path.exists():
                document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
                return document
    return None
