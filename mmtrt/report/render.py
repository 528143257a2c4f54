"""A report as Markdown and as JSON."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmtrt.report.collect import Report, StageRow
from mmtrt.report.scores import score_line
from mmtrt.report.units import duration_text, size_text


def to_json(report: Report) -> dict[str, Any]:
    """Return the report as plain data: ``mmtrt report --format json``."""
    return {"schema": 1, **asdict(report)}


def to_markdown(report: Report) -> str:
    """Return the report as GitHub's Markdown."""
    sections = [
        _head(report),
        _stages(report.stages),
        _failures(report),
        _limits(report),
        _findings(report.findings),
        _scores(report.scores),
        _results(report.results),
        _timings(report.timings),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _head(report: Report) -> str:
    title = " ".join(filter(None, (report.recipe, report.variant)))
    verdict = report.status
    if report.seconds is not None:
        preposition = "in" if verdict == "done" else "after"
        verdict += f" {preposition} {duration_text(report.seconds)}"
    rows = [
        ("backend", _toolchain(report)),
        ("started", f"{report.started[:19].replace('T', ' ')} UTC" if report.started else ""),
        ("command", _code(_command(report)) if report.overrides else ""),
        ("host", _host(report.host)),
        ("record", _code(report.run)),
    ]
    lines = [f"# {title}: {verdict}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {_cell(text)} |" for name, text in rows if text]
    return "\n".join(lines)


def _command(report: Report) -> str:
    return shlex.join(("mmtrt", *report.overrides))


def _toolchain(report: Report) -> str:
    words = dict.fromkeys((report.backend or "", *report.toolchain.values()))
    return " ".join(word for word in words if word)


def _host(host: Mapping[str, Any]) -> str:
    if not host:
        return ""
    parts = [str(host.get(name)) for name in ("hostname", "system") if host.get(name)]
    if host.get("python"):
        parts.append(f"Python {host['python']}")
    if host.get("cpus"):
        parts.append(f"{host['cpus']} cores")
    if host.get("ram_bytes"):
        parts.append(f"{size_text(host['ram_bytes'])} RAM")
    gpus = host.get("gpus") or []
    names = dict.fromkeys(f"{gpu.get('name')} (sm {gpu.get('sm')})" for gpu in gpus)
    parts.append(f"{len(gpus)} x {', '.join(names)}" if gpus else "no GPU")
    return ", ".join(parts)


def _stages(rows: Sequence[StageRow]) -> str:
    if not rows:
        return ""
    return "## Stages\n\n" + _table(
        ("stage", "status", "time", "size", "peak memory", "key", "why"),
        (
            (
                row.id if row.id == row.kind else f"{row.id} ({row.kind})",
                row.status + (f" (attempt {row.attempts})" if row.attempts > 1 else ""),
                "" if not row.seconds else duration_text(row.seconds),
                "" if row.size_bytes is None else size_text(row.size_bytes),
                "" if row.peak_rss_bytes is None else size_text(row.peak_rss_bytes),
                f"`{row.key[:12]}`" if row.key else "",
                "; ".join(row.reasons),
            )
            for row in rows
        ),
    )


def _failures(report: Report) -> str:
    blocks = [_fenced(report.error)] if report.error else []
    for row in report.stages:
        if row.status == "failed":
            logs = "".join(f"\n- log: {_code(log)}" for log in row.logs)
            repeat = f"\n- again: {_code(row.repeat)}" if row.repeat else ""
            blocks.append(f"Stage {row.id} failed: {'; '.join(row.reasons)}{logs}{repeat}")
    return "\n\n".join(["## What went wrong", *blocks]) if blocks else ""


def _limits(report: Report) -> str:
    if not report.limits:
        return ""
    table = _table(
        ("limit", "value", "source", "because"),
        (
            (
                name,
                "" if limit.get("value") is None else str(limit["value"]),
                str(limit.get("source", "")),
                str(limit.get("because", "")),
            )
            for name, limit in report.limits.items()
        ),
    )
    features = report.features_per_request
    note = "" if features is None else f"\n\nVisual features per request: {features}"
    return f"## Limits\n\n{table}{note}"


def _findings(findings: Sequence[Mapping[str, Any]]) -> str:
    if not findings:
        return ""
    lines = []
    for finding in findings:
        lines.append(
            f"- **{finding.get('severity')} {finding.get('code')}**: {finding.get('message')}"
        )
        for label in ("at", "why", "fix"):
            if text := finding.get(label):
                lines.append(f"  - {label}: {_code(text) if label == 'fix' else text}")
    return "\n".join(["## Findings", "", *lines])


def _results(requests: Sequence[Mapping[str, Any]]) -> str:
    if not requests:
        return ""
    blocks = ["## Answers"]
    for request in requests:
        images = [Path(str(image)).name for image in request.get("images") or ()]
        lines = [f"- image: {_code(image)}" for image in images]
        if request.get("video"):
            lines.append(f"- video: {_code(str(request['video']))}")
        if request.get("audio"):
            lines.append(f"- audio: {_code(str(request['audio']))}")
        if request.get("prompt"):
            lines.append(f"- prompt: {_code(str(request['prompt']))}")
        blocks.append("\n".join(lines) or "The model's own prompt:")
        blocks.append(_fenced(str(request.get("text", ""))))
    return "\n\n".join(blocks)


def _scores(scores: Sequence[Mapping[str, Any]]) -> str:
    if not scores:
        return ""
    return "\n".join(["## Accuracy", "", *(f"- {score_line(row)}" for row in scores)])


def _timings(timings: Mapping[str, Any]) -> str:
    rows = [(name, text) for name, value in timings.items() if (text := _number(value))]
    return "## Timings\n\n" + _table(("timing", "value"), rows) if rows else ""


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value) if value is not None else ""


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Return text that cannot end a table's cell or row."""
    return text.replace("|", "\\|").replace("\n", " ")


def _code(text: str) -> str:
    """Return inline code; its fence is longer than any run of backticks inside."""
    if "\n" in text:
        text = text.replace("\n", "\\n")
    fence = "`" * (_longest_run(text) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") or not text.strip() else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _fenced(text: str) -> str:
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}text\n{text}\n{fence}"


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
