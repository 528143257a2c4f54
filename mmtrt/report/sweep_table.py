"""The results of a sweep as a table: for a terminal, as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

from mmtrt.report import markdown
from mmtrt.report.choices import spoken
from mmtrt.report.tables import write_table
from mmtrt.report.units import duration_text, size_text

FIGURES: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("engine_bytes", "ENGINES", size_text),
    ("build_seconds", "BUILD", duration_text),
    ("prefill_ms", "PREFILL", lambda ms: f"{ms:.1f} ms"),
    ("decode_tokens_per_s", "DECODE", lambda speed: f"{speed:,.0f} tok/s"),
    ("accuracy", "ACCURACY", lambda percent: f"{percent:.2f} %"),
    ("peak_rss_bytes", "MEMORY", size_text),
)
"""Name of a figure, heading, and how people read it."""

SPOKEN = {
    "accuracy": "accuracy",
    "decode_tokens_per_s": "decode speed",
    "engine_bytes": "size of the engines",
}
"""Axes of the Pareto front in words."""


def write_results(stream: TextIO, results: Mapping[str, Any]) -> None:
    """Write the table for people, and what is to be said below it."""
    columns, rows = _cells(results)
    right = " ".join(["POINT", "HITS", *(title for _, title, _ in FIGURES)])
    write_table(stream, columns, rows, right)
    for line in notes(results):
        stream.write(line + "\n")


def to_markdown(results: Mapping[str, Any]) -> str:
    """Return the report of a sweep as Markdown."""
    columns, rows = _cells(results)
    lines = [f"# Sweep {markdown.text(str(results.get('name', '')))}".rstrip(), ""]
    if results.get("command"):
        lines += [markdown.code(str(results["command"])), ""]
    cells = [[markdown.text(cell) for cell in row] for row in rows]
    lines.append(markdown.table([markdown.text(title.lower()) for title in columns], cells))
    lines += [markdown.text(note) for note in notes(results)]
    errors = [point for point in results.get("points") or () if point.get("error")]
    if errors:
        lines += ["", "## What went wrong", ""]
    for point in errors:
        lines += [f"Point {point['id']}:", "", markdown.fenced(str(point["error"]), "text"), ""]
    return "\n".join(lines).rstrip() + "\n"


def to_csv(results: Mapping[str, Any]) -> str:
    """Return one line for each point: what varies, limits and figures, without units."""
    points: Sequence[Mapping[str, Any]] = results.get("points") or ()
    varied = [str(key) for key in results.get("varied") or ()]
    limits = list(dict.fromkeys(name for point in points for name in point.get("limits") or {}))
    names = ["recipe", "variant", "backend", "status"]
    figures = [*(name for name, _, _ in FIGURES), "hits", "stages", "pareto"]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["id", *varied, *(n for n in names if n not in varied), *figures, *limits])
    for point in points:
        chosen = point.get("overrides") or {}
        writer.writerow(
            [
                point.get("id"),
                *(_plain(chosen.get(key)) if key in chosen else "" for key in varied),
                *(_plain(point.get(name)) for name in names if name not in varied),
                *(_plain(point.get(name)) for name in figures),
                *(_plain((point.get("limits") or {}).get(name)) for name in limits),
            ]
        )
    return out.getvalue()


def notes(results: Mapping[str, Any]) -> list[str]:
    """Return what the table does not say by itself."""
    points: Sequence[Mapping[str, Any]] = results.get("points") or ()
    found = []
    axes = [SPOKEN.get(str(name), str(name)) for name in results.get("pareto_axes") or ()]
    if axes and any(point.get("pareto") for point in points):
        respects = " and ".join([", ".join(axes[:-1]), axes[-1]] if axes[1:] else axes)
        found.append(f"* no other point is better in {respects}")
    return found


def _cells(results: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    points: Sequence[Mapping[str, Any]] = results.get("points") or ()
    varied = [str(key) for key in results.get("varied") or ()]
    shown = [f for f in FIGURES if any(point.get(f[0]) is not None for point in points)]
    columns = ["POINT", *varied, "STATUS", *(title for _, title, _ in shown), "HITS", "PARETO"]
    rows = []
    for point in points:
        chosen = point.get("overrides") or {}
        stages = point.get("stages") or 0
        rows.append(
            [
                str(point.get("id", "")),
                *(spoken(chosen[key]) if key in chosen else "" for key in varied),
                str(point.get("status", "")).replace("_", " "),
                *(
                    "" if point.get(name) is None else in_words(point[name])
                    for name, _, in_words in shown
                ),
                f"{point.get('hits') or 0}/{stages}" if stages else "",
                "*" if point.get("pareto") else "",
            ]
        )
    return columns, rows


def _plain(value: Any) -> str:
    return "" if value is None else spoken(value)
