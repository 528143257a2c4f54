"""A pytest plugin that writes what passed as a table of cells: `-p tests.matrix --matrix FILE`.

A test that shows a cell carries ``@pytest.mark.cell(column)``. Its recipe, variant and engine are
those of the ``built`` fixture's parameter, or are given to the mark by name. Cells that are not
tested now keep what the file says of them.
"""

from __future__ import annotations

import json
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

ENGINES = ("onnxruntime", "tensorrt_rtx", "aot_inductor")
TOOLS = ("torch", "transformers", "onnxruntime", "tensorrt-rtx-cu13")
_WORST = ("failed", "refused", "passed", "skipped")
"""Of several tests of one cell the first of these counts; a skip alone says nothing."""
_PLACE = re.compile(r"(?<!\S)/\S*/")
"""Directories of a test: they say nothing later."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--matrix", type=Path, metavar="FILE", help="where cells are written")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--matrix"):
        if hasattr(config, "workerinput"):
            raise pytest.UsageError("--matrix needs one process: each family is built once")
        config.pluginmanager.register(Matrix(config.getoption("--matrix")), "matrix-writer")


def cell_of(item: pytest.Item) -> dict[str, str] | None:
    """Return the cell that a test is about, if there is one."""
    mark = item.get_closest_marker("cell")
    if mark is None:
        return None
    params = getattr(item, "callspec", None)
    found: dict[str, str] = {}
    if params is not None and "built" in params.params:
        from tests.native.families import CASES

        name, engine = params.params["built"]
        case = CASES[name]
        found = {"recipe": case.recipe or name, "variant": case.variant, "engine": engine}
    given = {key: str(value) for key, value in mark.kwargs.items()}
    column = str(mark.args[0])
    if params is not None:
        column = column.format(**params.params)
    found = {**found, **given, "column": column}
    return found if found.get("engine") in ENGINES else None


class Matrix:
    """Collects outcomes, and writes them when the session ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cells: dict[tuple[str, ...], dict[str, Any]] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        report = yield
        cell = cell_of(item)
        if cell is not None and (report.when == "call" or not report.passed):
            self._add(cell, report)
        return report

    def _add(self, cell: dict[str, str], report: pytest.TestReport) -> None:
        outcome, detail = report.outcome, ""
        if report.skipped and isinstance(report.longrepr, tuple):
            detail = report.longrepr[2].removeprefix("Skipped: ")
            if detail.startswith("refused "):
                outcome, detail = "refused", detail.removeprefix("refused ")  # type: ignore[assignment]
                detail = _PLACE.sub("", detail)
        key = tuple(cell[name] for name in ("recipe", "variant", "engine", "column"))
        held = self.cells.get(key)
        if held is None or _WORST.index(outcome) < _WORST.index(held["outcome"]):
            self.cells[key] = {"outcome": outcome, "detail": detail if outcome == "refused" else ""}

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        document = json.loads(self.path.read_text()) if self.path.is_file() else {"cells": []}
        held = {
            tuple(row[name] for name in ("recipe", "variant", "engine", "column")): row
            for row in document["cells"]
        }
        for key, found in self.cells.items():
            if found["outcome"] != "skipped":
                names = dict(zip(("recipe", "variant", "engine", "column"), key))
                held[key] = {**names, **found}
        document = {
            "schema": 1,
            "versions": {**document.get("versions", {}), **_versions()},
            "cells": [held[key] for key in sorted(held)],
        }
        self.path.write_text(json.dumps(document, indent=1) + "\n")


def _versions() -> dict[str, str]:
    found = {}
    for tool in TOOLS:
        try:
            found[tool] = version(tool)
        except PackageNotFoundError:
            continue
    return found
