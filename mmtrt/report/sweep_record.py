"""The record of a sweep: ``results.json``, ``results.csv``, ``plan.json`` and ``events.jsonl``."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmtrt.errors import UsageError
from mmtrt.executor import events
from mmtrt.report.record import RunRecord
from mmtrt.report.results import RESULTS_FILE
from mmtrt.report.sweep_results import Results
from mmtrt.report.sweep_table import to_csv, to_markdown

EVERY_S = 1.0
"""Results are written at most this often while stages end (*chosen*): who is killed loses no more
than what the last second brought, and the store has that."""


class SweepRecord:
    """Keeps a sweep's directory as things happen; it can be read at any moment."""

    def __init__(self, runs: Path, name: str, results: Results) -> None:
        """Make the directory below ``runs``, if that is possible."""
        self._record = RunRecord(runs, name)
        self._results = results
        self._written = 0.0

    @property
    def path(self) -> Path | None:
        """The directory; ``None`` where no record can be written."""
        return self._record.path

    @property
    def warning(self) -> str | None:
        """Why something is not recorded."""
        return self._record.warning

    def write_plan(self, plan: Mapping[str, Any]) -> None:
        """Write what is going to run."""
        text = json.dumps(plan, ensure_ascii=False)
        self._record.write_text("plan.json", text + "\n")

    def listen(self, event: events.Event) -> None:
        """Append an event, and write results when a stage has ended."""
        self._record.listen(event)
        ended = isinstance(event, (events.StageDone, events.StageHit, events.StageBroke))
        if ended and time.monotonic() - self._written >= EVERY_S:
            self.write()

    def write(self) -> dict[str, Any]:
        """Write the results as they stand, and return them."""
        document = self._results.document()
        self._written = time.monotonic()
        self._replace(RESULTS_FILE, lines_of(document))
        return document

    def finish(self) -> dict[str, Any]:
        """Write the results for good, as JSON and as CSV, and return them."""
        document = self.write()
        self._replace("results.csv", to_csv(document))
        return document

    def close(self) -> None:
        """Close the event log."""
        self._record.close()

    def _replace(self, name: str, text: str) -> None:
        """Write a file so that a reader sees the old text or the new one."""
        if self.path is None:
            return
        self._record.write_text(f".{name}", text)
        if self.warning is None:
            (self.path / f".{name}").replace(self.path / name)


def sweep_text(record: Path, form: str) -> str:
    """Return the results of a sweep, as far as it came: ``md``, ``csv`` or ``json``.

    Raises:
        UsageError: CFG003, if the record is no sweep's or cannot be read.
    """
    try:
        text = (record / RESULTS_FILE).read_text(encoding="utf-8")
        document = json.loads(text)
    except FileNotFoundError:
        raise UsageError(
            f"{record.name} is no sweep", code="CFG003", fix="--format md, json or html"
        ) from None
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{record / RESULTS_FILE} cannot be read", code="CFG003", why=str(error)
        ) from error
    if form == "json":
        return text
    return to_csv(document) if form == "csv" else to_markdown(document)


def lines_of(document: Mapping[str, Any]) -> str:
    """Return the document as JSON with a line for each point, which people can read and grep."""
    parts = []
    for key, value in document.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            rows = ",\n  ".join(json.dumps(each, ensure_ascii=False) for each in value)
            parts.append(f" {json.dumps(key)}: [\n  {rows}\n ]")
        else:
            parts.append(f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"
