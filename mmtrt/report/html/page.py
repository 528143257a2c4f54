"""A run or a sweep as one HTML page that needs no other file, no script and no network."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmtrt.report.collect import Report, StageRow, collect
from mmtrt.report.html import sweep
from mmtrt.report.html.graph import Stage, graph_picture
from mmtrt.report.html.pictures import data_uris, picture_files
from mmtrt.report.html.timeline import Span, timeline_picture
from mmtrt.report.results import is_sweep, read_results
from mmtrt.report.units import duration_text, size_text

if TYPE_CHECKING:
    from jinja2 import Environment


def record_page(record: Path) -> str:
    """Return the page of a record: of a sweep where it has results, else of a run."""
    if is_sweep(record):
        return sweep_page(read_results(record))
    return run_page(collect(record))


def run_page(
    report: Report,
    *,
    links: Mapping[str, str] | None = None,
    refresh_s: int = 0,
    home: str = "",
) -> str:
    """Return the page of a run.

    Args:
        report: the run.
        links: stage id -> address of its live log, where a server shows the page.
        refresh_s: the browser loads the page again after so many seconds; 0 for never.
        home: address of the list of runs, if there is one.
    """
    links = links or {}
    rows = report.stages
    names = [str(name) for request in report.results for name in request.get("images") or ()]
    # What the plan leaves out is told by the table; boxes without an edge would only distract.
    drawn = [_stage(row, links) for row in rows if row.status != "skipped" or row.needs]
    files = picture_files(word for row in rows for word in row.argv)
    return render(
        "run.html",
        report=report,
        title=" ".join(filter(None, (report.recipe, report.variant))),
        command=shlex.join(("mmtrt", *report.overrides)) if report.overrides else "",
        graph=graph_picture(drawn) if drawn else None,
        timeline=timeline_picture(_spans(rows)) if _spans(rows) else None,
        pictures=data_uris(names, files),
        links=links,
        refresh_s=refresh_s,
        home=home,
    )


def sweep_page(
    results: Mapping[str, Any], *, links: Mapping[str, str] | None = None, home: str = ""
) -> str:
    """Return the page of a sweep.

    Args:
        results: what ``results.json`` of its record holds.
        links: point id -> address of its own page, where a server shows the page.
        home: address of the list of runs, if there is one.
    """
    view = sweep.view(results)
    stages: Sequence[Mapping[str, Any]] = results.get("stages") or ()
    pictured = [_sweep_stage(stage) for stage in stages]
    return render(
        "sweep.html",
        view=view,
        graph=graph_picture(pictured) if pictured else None,
        links=links or {},
        refresh_s=0,
        home=home,
    )


def render(template: str, **values: Any) -> str:
    """Return a template filled in."""
    return _environment().get_template(template).render(**values)


def _stage(row: StageRow, links: Mapping[str, str]) -> Stage:
    parts = [row.status if row.status != "done" else ""]
    parts += [duration_text(row.seconds) if row.seconds else ""]
    parts += [size_text(row.size_bytes) if row.size_bytes else ""]
    href = links.get(row.id) or f"#stage-{row.id}"
    return Stage(row.id, row.status, row.needs, " · ".join(filter(None, parts)), href)


def _sweep_stage(stage: Mapping[str, Any]) -> Stage:
    status = str(stage.get("status", "not started"))
    seconds = stage.get("seconds")
    parts = [status if status != "done" else "", duration_text(seconds) if seconds else ""]
    if users := stage.get("points"):
        parts.append(f"{len(users)} point{'s' if len(users) > 1 else ''}")
    note = " · ".join(filter(None, parts))
    return Stage(str(stage["id"]), status, tuple(stage.get("needs") or ()), note)


def _spans(rows: Sequence[StageRow]) -> list[Span]:
    return [
        Span(row.id, row.status, row.begun_s, row.seconds or 0.0)
        for row in rows
        if row.begun_s is not None
    ]


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader

    environment = Environment(
        loader=PackageLoader("mmtrt.report.html"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"duration": duration_text, "size": size_text, "status": status_class}
    return environment


def status_class(status: str) -> str:
    """Return the class of a status: what stands for its colour."""
    return {
        "hit": "hit",
        "done": "done",
        "failed": "failed",
        "invalid": "failed",
        "running": "running",
        "interrupted": "failed",
    }.get(status, "left")
