"""The record of one run: a directory below ``paths.runs`` that reports are made from."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TextIO

from mmtrt.executor.events import Event
from mmtrt.redaction import of_environment


class RunRecord:
    """Writes ``resolved.yaml``, ``plan.json``, ``events.jsonl`` and ``result.json``.

    Listening must never stop a run: a record that cannot be written is given up with one warning.
    """

    def __init__(self, runs: Path, recipe: str) -> None:
        """Make the directory; :attr:`path` is ``None`` if that is impossible."""
        self._began = time.monotonic()
        self._redactor = of_environment(sys.argv)
        self._events: TextIO | None = None
        self.warning: str | None = None
        self.path: Path | None = None
        stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S")
        try:
            for attempt in range(100):
                suffix = f"-{attempt}" if attempt else ""
                path = runs / f"{stamp}Z{suffix}-{recipe}"
                try:
                    path.mkdir(parents=True)
                except FileExistsError:
                    continue
                self.path = path
                self._events = (path / "events.jsonl").open(
                    "a", encoding="utf-8", errors="surrogateescape"
                )
                return
        except OSError as error:
            self._give_up(error)

    def write(self, name: str, data: Mapping[str, Any]) -> None:
        """Write one document of the record as JSON."""
        self.write_text(name, json.dumps(data, indent=1, ensure_ascii=False) + "\n")

    def write_yaml(self, name: str, data: Mapping[str, Any]) -> None:
        """Write one document of the record as YAML, in the JSON form that YAML includes.

        Importing a YAML library would take longer than everything else that a run of hits does.
        """
        head = "# The composed configuration, every value resolved.\n"
        self.write_text(name, head + json.dumps(data, indent=1, ensure_ascii=False) + "\n")

    def listen(self, event: Event) -> None:
        """Append one event with its time."""
        if self._events is None:
            return
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        elapsed = round(time.monotonic() - self._began, 4)
        line = json.dumps({"time": now, "t": elapsed, **event.to_json()}, ensure_ascii=False)
        try:
            self._events.write(self._redactor.whole(line) + "\n")
            self._events.flush()
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        """Close the event log."""
        if self._events is not None:
            with contextlib.suppress(OSError):
                self._events.close()
            self._events = None

    def write_text(self, name: str, text: str) -> None:
        """Write one file of the record, without credentials."""
        if self.path is None:
            return
        text = self._redactor.whole(text)
        try:
            (self.path / name).write_text(text, encoding="utf-8", errors="surrogateescape")
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.close()
        if self.warning is None:
            self.warning = f"this run is not recorded: {error}"
