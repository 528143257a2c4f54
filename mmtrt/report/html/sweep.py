"""What a page shows of a sweep: the table of its points, the Pareto plot, the bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mmtrt.report.html.charts import Bars, Sample, ScatterPicture, bars, scatter_picture
from mmtrt.report.units import duration_text, size_text


@dataclass(frozen=True)
class Quantity:
    """A figure of every point: its name in ``results.json``, and how people read it."""

    name: str
    title: str
    better: str
    kind: str = "number"

    def text(self, value: Any) -> str:
        """Return a value with its unit; empty where there is none."""
        if value is None:
            return ""
        if self.kind == "bytes":
            return size_text(value)
        if self.kind == "seconds":
            return duration_text(value)
        return f"{value:,.4g}{' %' if self.kind == 'percent' else ''}"


QUANTITIES = (
    Quantity("accuracy", "accuracy, %", "higher is better", "percent"),
    Quantity("decode_tokens_per_s", "decode, tokens/s", "higher is better"),
    Quantity("prefill_ms", "prefill, ms", "lower is better"),
    Quantity("engine_bytes", "engines", "lower is better", "bytes"),
    Quantity("build_seconds", "build time", "lower is better", "seconds"),
    Quantity("peak_rss_bytes", "peak memory", "lower is better", "bytes"),
)


@dataclass(frozen=True)
class PointRow:
    """One line of the table."""

    id: str
    label: str
    status: str
    chosen: tuple[str, ...]
    """Values of what varies, in the order of ``varied``."""
    cells: tuple[str, ...]
    """Figures, in the order of the table's quantities."""
    hits: str
    on_front: bool
    error: str
    answers: tuple[str, ...]
    limits: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class SweepView:
    """A sweep, ready for a template."""

    title: str
    command: str
    verdict: str
    varied: tuple[str, ...]
    quantities: tuple[Quantity, ...]
    rows: tuple[PointRow, ...]
    scatter: ScatterPicture | None
    scatter_note: str
    charts: tuple[Bars, ...]
    findings: tuple[Mapping[str, Any], ...]


def view(results: Mapping[str, Any]) -> SweepView:
    """Return what a page shows of the document ``results.json``."""
    points: Sequence[Mapping[str, Any]] = results.get("points") or ()
    varied = tuple(results.get("varied") or ())
    present = tuple(q for q in QUANTITIES if any(point.get(q.name) is not None for point in points))
    rows = tuple(_row(point, varied, present) for point in points)
    scatter, note = _scatter(points, varied)
    if scatter is not None and len(results.get("pareto_axes") or ()) > 2:
        # On more axes than the plot has, the front is no line.
        scatter = replace(scatter, front="")
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.status] = counts.get(row.status, 0) + 1
    return SweepView(
        title=str(results.get("name") or "sweep"),
        command=str(results.get("command") or ""),
        verdict=", ".join(f"{n} {status.replace('_', ' ')}" for status, n in counts.items()),
        varied=varied,
        quantities=present,
        rows=rows,
        scatter=scatter,
        scatter_note=note,
        charts=tuple(_bars(q, points, varied) for q in present),
        findings=tuple(results.get("findings") or ()),
    )


def label_of(point: Mapping[str, Any], varied: Sequence[str]) -> str:
    """Return a point's short name: the values of what varies."""
    overrides = point.get("overrides") or {}
    words = [_spoken(overrides[key]) for key in varied if key in overrides]
    return " ".join(words) or str(point.get("id", ""))


def _spoken(value: Any) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _row(
    point: Mapping[str, Any], varied: Sequence[str], quantities: Sequence[Quantity]
) -> PointRow:
    overrides = point.get("overrides") or {}
    stages = point.get("stages")
    error = point.get("error") or ""
    return PointRow(
        id=str(point.get("id", "")),
        label=label_of(point, varied),
        status=str(point.get("status", "")),
        chosen=tuple(_spoken(overrides[key]) if key in overrides else "" for key in varied),
        cells=tuple(q.text(point.get(q.name)) for q in quantities),
        hits="" if not stages else f"{point.get('hits') or 0} of {stages}",
        on_front=bool(point.get("pareto")),
        error=str(error),
        answers=tuple(str(each) for each in point.get("answers") or ()),
        limits=tuple((name, str(_plain(v))) for name, v in (point.get("limits") or {}).items()),
    )


def _plain(limit: Any) -> Any:
    return limit.get("value") if isinstance(limit, Mapping) else limit


def _scatter(
    points: Sequence[Mapping[str, Any]], varied: Sequence[str]
) -> tuple[ScatterPicture | None, str]:
    """Return the plot of what is gained against what it costs, where two points have both."""
    gains = [q for q in QUANTITIES if q.name in ("accuracy", "decode_tokens_per_s")]
    for gain in gains:
        placed = [
            point
            for point in points
            if point.get(gain.name) is not None and point.get("engine_bytes") is not None
        ]
        if len(placed) < 2:
            continue
        samples = [
            Sample(
                str(point.get("id")),
                label_of(point, varied),
                point["engine_bytes"] / (1 << 20),
                point[gain.name],
                bool(point.get("pareto")),
            )
            for point in placed
        ]
        return scatter_picture(samples, "engines, MiB", gain.title), gain.better
    return None, ""


def _bars(quantity: Quantity, points: Sequence[Mapping[str, Any]], varied: Sequence[str]) -> Bars:
    return bars(
        quantity.title,
        quantity.better,
        [
            (
                label_of(point, varied),
                float(point[quantity.name]),
                quantity.text(point[quantity.name]),
                bool(point.get("pareto")),
            )
            for point in points
            if point.get(quantity.name) is not None
        ],
    )
