"""The web application: a list of runs, one run, one log. It answers GET and changes nothing."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from mmtrt.report.collect import Report, StageRow, collect
from mmtrt.report.html.page import render, run_page, sweep_page
from mmtrt.report.results import is_sweep, read_results
from mmtrt.report.runs import run_dirs
from mmtrt.ui.logs import piece
from mmtrt.ui.overview import overview

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PER_PAGE = 50
REFRESH_S = 3
"""How often a page of a run that goes on is loaded again (*chosen*)."""

_STREAMS = ("stderr.log", "stdout.log")
"""The first of these that is there is shown."""

_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; connect-src 'self'; "
    "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)


def make_app(root: Path, hosts: Sequence[str]) -> Starlette:
    """Return the application.

    Args:
        root: the directory of the runs' records.
        hosts: names under which the server may be addressed. A page from elsewhere whose name was
            made to point at this machine is refused by them (DNS rebinding).
    """
    pages = _Pages(root)
    return Starlette(
        routes=[
            Route("/", pages.index),
            Route("/runs/{run}", pages.run),
            Route("/runs/{run}/log/{stage:path}", pages.log),
            Route("/runs/{run}/tail/{stage:path}", pages.tail),
        ],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
            Middleware(_Headers),
        ],
        exception_handlers={HTTPException: _told},
    )


class _Headers:
    """Adds what keeps a page from being framed, sniffed or fed from elsewhere."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                names = {name.lower() for name, _ in message["headers"]}
                for name, value in (
                    (b"content-security-policy", _POLICY.encode()),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                    (b"cache-control", b"no-store"),
                ):
                    if name not in names:
                        message["headers"].append((name, value))
            await send(message)

        await self._app(scope, receive, sending)


async def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    page = render("error.html", status=error.status_code, message=error.detail, refresh_s=0)
    return HTMLResponse(page, error.status_code)


class _Pages:
    """Answers of the application; files are reached through the records only, never by a path."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def index(self, request: Request) -> Response:
        """List the runs, newest first."""
        page = max(1, _number(request.query_params.get("page"), 1))
        found = run_dirs(self._root)
        shown = found[(page - 1) * PER_PAGE : page * PER_PAGE]
        rows = [overview(path) for path in shown]
        goes_on = any(row.status == "running" for row in rows)
        text = render(
            "index.html",
            rows=rows,
            root=str(self._root),
            total=len(found),
            page=page,
            pages=max(1, -(-len(found) // PER_PAGE)),
            refresh_s=REFRESH_S if goes_on else 0,
        )
        return HTMLResponse(text)

    def run(self, request: Request) -> Response:
        """Show one run or sweep."""
        path = self._record(request)
        report = collect(path)
        if is_sweep(path):
            return HTMLResponse(sweep_page(read_results(path), report, home="/"))
        links = {
            row.id: f"/runs/{quote(path.name)}/log/{quote(row.id)}"
            for row in report.stages
            if row.logs
        }
        refresh_s = REFRESH_S if report.status == "running" else 0
        return HTMLResponse(run_page(report, links=links, refresh_s=refresh_s, home="/"))

    def log(self, request: Request) -> Response:
        """Show a stage's log; a stage that runs is followed."""
        path = self._record(request)
        report = collect(path)
        row, which, log = self._log(request, report)
        nonce = secrets.token_urlsafe(16)
        part = piece(log)
        text = render(
            "log.html",
            run=path.name,
            stage=row,
            which=which,
            streams=[Path(each).name for each in row.logs],
            piece=part,
            tail=f"/runs/{quote(path.name)}/tail/{quote(row.id)}?stream={quote(which)}",
            nonce=nonce,
            refresh_s=0,
        )
        policy = f"{_POLICY}; script-src 'nonce-{nonce}'"
        return HTMLResponse(text, headers={"Content-Security-Policy": policy})

    def tail(self, request: Request) -> Response:
        """Return what a log holds from a byte on, and whether its stage still runs."""
        report = collect(self._record(request))
        row, _, log = self._log(request, report)
        part = piece(log, _number(request.query_params.get("start"), 0))
        document: dict[str, Any] = {
            "text": part.text,
            "start": part.start,
            "end": part.end,
            "status": row.status,
        }
        return JSONResponse(document)

    def _record(self, request: Request) -> Path:
        name = request.path_params["run"]
        for path in run_dirs(self._root):
            if path.name == name:
                return path
        raise HTTPException(404, f"No run is called {name}.")

    def _log(self, request: Request, report: Report) -> tuple[StageRow, str, Path]:
        row = report.stage(request.path_params["stage"])
        logs = {} if row is None else {Path(each).name: Path(each) for each in row.logs}
        if row is None or not logs:
            raise HTTPException(404, "This stage has no log: it was not started, or it is gone.")
        asked = request.query_params.get("stream")
        if asked is not None and asked not in logs:
            raise HTTPException(404, f"This stage has no {asked}.")
        which = asked or next((name for name in _STREAMS if name in logs), next(iter(logs)))
        return row, which, logs[which]


def _number(text: str | None, otherwise: int) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() else otherwise
