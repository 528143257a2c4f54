"""A run or a sweep as one HTML page that needs no other file, no script and no network."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmtrt.report.collect import Report, StageRow, collect
from mmtrt.report.html import sweep
from mmtrt.report.html.graph import GraphPicture, Stage, graph_picture
from mmtrt.report.html.pictures import data_uris, picture_files
from mmtrt.report.html.timeline import Span, TimelinePicture, timeline_picture
from mmtrt.report.results import is_sweep, read_results
from mmtrt.report.units import duration_text, size_text

if TYPE_CHECKING:
    from jinja2 import Environment


MOST_DRAWN = 200
"""Plans of more stages are not drawn: nobody could read the picture (*chosen*)."""


def record_page(record: Path) -> str:
    """Return the page of a record: of a sweep where it has results, else of a run."""
    if is_sweep(record):
        return sweep_page(read_results(record), collect(record))
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
    graph, timeline = _plan_pictures(rows, links)
    files = picture_files(word for row in rows for word in row.argv)
    return render(
        "run.html",
        report=report,
        title=" ".join(filter(None, (report.recipe, report.variant))),
        command=shlex.join(("mmtrt", *report.overrides)) if report.overrides else "",
        graph=graph,
        timeline=timeline,
        pictures=data_uris(names, files),
        links=links,
        refresh_s=refresh_s,
        home=home,
    )


def sweep_page(results: Mapping[str, Any], report: Report | None = None, *, home: str = "") -> str:
    """Return the page of a sweep.

    Args:
        results: what ``results.json`` of its record holds.
        report: how the stages of the merged plan went.
        home: address of the list of runs, if there is one.
    """
    rows = () if report is None else report.stages
    graph, timeline = _plan_pictures(rows, {}) if report is not None else (None, None)
    return render(
        "sweep.html",
        view=sweep.view(results),
        status="" if report is None else report.status,
        undrawn=len(rows) if len(rows) > MOST_DRAWN else 0,
        graph=graph,
        timeline=timeline,
        refresh_s=0,
        home=home,
    )


def render(template: str, **values: Any) -> str:
    """Return a template filled in."""
    return _environment().get_template(template).render(**values)


def _plan_pictures(
    rows: Sequence[StageRow], links: Mapping[str, str]
) -> tuple[GraphPicture | None, TimelinePicture | None]:
    if len(rows) > MOST_DRAWN:
        return None, None
    # What the plan leaves out is told by the table; boxes without an edge would only distract.
    drawn = [_stage(row, links) for row in rows if row.status != "skipped" or row.needs]
    spans = _spans(rows)
    graph = graph_picture(drawn) if drawn else None
    return graph, timeline_picture(spans) if spans else None


def _stage(row: StageRow, links: Mapping[str, str]) -> Stage:
    parts = [row.status if row.status != "done" else ""]
    parts += [duration_text(row.seconds) if row.seconds else ""]
    parts += [size_text(row.size_bytes) if row.size_bytes else ""]
    href = links.get(row.id) or f"#stage-{row.id}"
    return Stage(row.id, row.status, row.needs, " · ".join(filter(None, parts)), href)


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
