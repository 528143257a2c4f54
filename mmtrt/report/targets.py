"""What a user may name on the command line: a run, or an artifact of the store."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mmtrt.artifacts import layout
from mmtrt.artifacts.lookup import Artifact, open_artifact
from mmtrt.artifacts.store import Store
from mmtrt.errors import ArtifactError, UsageError
from mmtrt.report.collect import Report, collect
from mmtrt.report.runs import find_run

MIN_KEY_DIGITS = 6
"""Shorter beginnings of a key are taken for names of runs (*chosen*)."""


@dataclass(frozen=True, kw_only=True)
class RunTarget:
    """A recorded run and what its stages made."""

    directory: Path
    report: Report
    artifacts: Mapping[str, Artifact]
    """Id of each stage whose output is still in the store, in plan order."""
    gone: Mapping[str, str]
    """Id of each stage whose output cannot be read -> why."""
    point: str | None = None
    """Number of the point, if it is one of a sweep."""
    label: str | None = None
    """What tells it from the other points."""

    @property
    def title(self) -> str:
        """Name for people, which :func:`find_target` understands."""
        return self.directory.name if self.point is None else f"{self.directory.name}:{self.point}"

    def one(self, stage: str) -> Artifact:
        """Return the output of one stage.

        Raises:
            UsageError: CFG003 if the run has no such stage, or its output is gone.
        """
        if stage in self.artifacts:
            return self.artifacts[stage]
        why = self.gone.get(stage) or f"its stages are {', '.join(self.artifacts)}"
        raise UsageError(
            f"run {self.title} has no output of a stage {stage!r}", code="CFG003", why=why
        )


def find_target(
    name: str | None, runs: Path, store: Path, point: str | None = None
) -> RunTarget | Artifact:
    """Return what a name stands for.

    Args:
        name: an artifact as a path, as ``kind/key`` or as a key, the key cut to
            :data:`MIN_KEY_DIGITS` digits or more; else a run, see :func:`find_run`, perhaps with a
            point of it: ``sweep:3``, or ``:3`` of the newest.
        runs: directory of the records.
        store: directory of the store.
        point: a point of the run, see :func:`mmtrt.report.sweep_points.find_point`.

    Raises:
        UsageError: CFG003 if there is none, or several artifacts or points fit; CFG002 if an
            artifact is named with a point.
        ArtifactError: if the artifact cannot be read.
    """
    if name is not None and (artifact := find_artifact(name, store)) is not None:
        if point is not None:
            raise UsageError("an artifact has no points", code="CFG002", fix="leave --point out")
        return artifact
    if point is None:
        name, point = split_point(name)
    return read_run(find_run(runs, name), point)


def split_point(name: str | None) -> tuple[str | None, str | None]:
    """Return a run and its point, of ``RUN:POINT``; the run is the newest where none is said."""
    if name is None or Path(name).exists():
        return name, None
    run, colon, point = name.partition(":")
    return run or None, point if colon else None


def find_artifact(name: str, store: Path) -> Artifact | None:
    """Return the artifact of a name; ``None`` if it has not the form of one.

    Raises:
        UsageError: CFG003 if it has the form, and none or several fit.
        ArtifactError: if the artifact cannot be read.
    """
    path = Path(name)
    for place in (path, path.parent):
        if (place / layout.MANIFEST).is_file() and layout.is_key(place.absolute().name):
            return open_artifact(place.absolute())
    kind, slash, digits = name.rpartition("/")
    is_hex = len(digits) >= MIN_KEY_DIGITS and not digits.strip(string.hexdigits.lower())
    if not is_hex or (slash and not layout.is_kind(kind)):
        return None
    found = [
        place for place in Store(store).directories(kind or None) if place.name.startswith(digits)
    ]
    if not found and not slash:
        return None  # the beginning of a run's name, perhaps
    if len(found) != 1:
        names = [f"{place.parent.name}/{place.name[:12]}" for place in found]
        raise UsageError(
            f"{len(found) or 'no'} artifacts begin with {name}",
            code="CFG003",
            why=", ".join(names) if names else f"the store is {store}",
            fix="give more digits" if names else "mmtrt cache ls",
        )
    return open_artifact(found[0])


def read_run(directory: Path, point: str | None = None) -> RunTarget:
    """Return a run, or a point of it, with the artifacts that are still there.

    Raises:
        UsageError: CFG003, if there is no such point.
    """
    report, label = collect(directory), None
    if point is not None:
        from mmtrt.report.sweep_points import find_point, labels_of, of_point, points_of

        found = find_point(directory, point)
        report, point = of_point(report, found), str(found["id"])
        label = labels_of(points_of(directory))[point]
    artifacts, gone = {}, {}
    for row in report.stages:
        if row.artifact is None:
            continue
        try:
            artifacts[row.id] = open_artifact(Path(row.artifact).parent.absolute())
        except ArtifactError as error:
            gone[row.id] = error.message
    return RunTarget(
        directory=directory,
        report=report,
        artifacts=artifacts,
        gone=gone,
        point=point,
        label=label,
    )
