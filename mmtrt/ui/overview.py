"""One line of the list of runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmtrt.report.collect import collect
from mmtrt.report.results import is_sweep, read_results


@dataclass(frozen=True)
class Overview:
    """What the list tells of a run or a sweep."""

    name: str
    title: str
    started: str
    status: str
    seconds: float | None
    stages: str
    answer: str


def overview(path: Path) -> Overview:
    """Return the line of one record."""
    stamp = path.name.split("-", 1)[0]
    started = f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]} {stamp[9:11]}:{stamp[11:13]}:{stamp[13:15]}"
    if is_sweep(path):
        results = read_results(path)
        points = results.get("points") or ()
        done = sum(point.get("status") == "done" for point in points)
        return Overview(
            name=path.name,
            title=str(results.get("name") or "sweep"),
            started=started,
            status=str(results.get("status") or ("done" if done == len(points) else "failed")),
            seconds=results.get("seconds"),
            stages=f"{done} of {len(points)} points",
            answer="",
        )
    report = collect(path)
    counts = {
        word: sum(row.status == status for row in report.stages)
        for status, word in (("done", "built"), ("hit", "from the store"), ("failed", "failed"))
    }
    texts = [str(request.get("text", "")) for request in report.results]
    return Overview(
        name=path.name,
        title=" ".join(filter(None, (report.recipe, report.variant))),
        started=started,
        status=report.status,
        seconds=report.seconds,
        stages=", ".join(f"{n} {word}" for word, n in counts.items() if n),
        answer=" | ".join(texts)[:120],
    )
