"""Every point of a sweep planned and checked before anything runs; equal findings told once."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from mmtrt.errors import HostError, LockStale, MmtrtError, RuleViolation
from mmtrt.plan.assess import Verdicts
from mmtrt.plan.graph import Plan
from mmtrt.plan.merge import Merged, Merger, Point
from mmtrt.rules.base import SEVERITIES, Finding
from mmtrt.rules.check import find_all
from mmtrt.rules.ignores import Silenced

Planner = Callable[[Sequence[str], int], Plan]
"""Composes, sizes and plans one point, given its overrides and its number."""


class Mistake(Finding):
    """An error that keeps a point from being planned; no page of ``mmtrt rule`` says more."""

    def render(self) -> str:
        """Return the finding as the lines a terminal shows."""
        return Finding.render(self).rpartition("\n  more:")[0]


@dataclass(frozen=True, slots=True)
class Told:
    """A finding, and the points that have it."""

    finding: Finding
    points: tuple[str, ...]
    """Their ids."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One point, whether it can be planned or not."""

    id: str
    overrides: tuple[str, ...]
    point: Point | None
    """``None`` if it has an error or this host cannot run it; it is no part of the merged plan."""
    error: str | None = None
    """The first of what is wrong."""


_OF_LOCKS = {"LCK101", "LCK102", "LCK103"}
"""Codes of ``LockStale``."""


@dataclass(frozen=True, slots=True)
class CheckedSweep:
    """The points without errors; made by :meth:`SweepPlan.checked` alone."""

    plan: Merged
    findings: tuple[Told, ...]


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep would do, and what is wrong with its points."""

    entries: tuple[Entry, ...]
    merged: Merged | None
    """``None`` where no point can run."""
    told: tuple[Told, ...]
    """Worst first."""
    silenced: tuple[tuple[Silenced, tuple[str, ...]], ...] = ()
    """What comments silence, and at which points."""

    @property
    def invalid(self) -> list[Entry]:
        """Return the points that cannot run."""
        return [entry for entry in self.entries if entry.point is None]

    @property
    def exit_code(self) -> int:
        """What a verb that only reads returns: 4 if nothing is wrong but a lock, 2 for the rest."""
        codes = {told.finding.code for told in self.told if told.finding.severity == "error"}
        if codes and codes <= _OF_LOCKS:
            return LockStale.exit_code
        return RuleViolation.exit_code if codes or self.invalid else 0

    def checked(self, skip_invalid: bool = False) -> CheckedSweep:
        """Return the sweep as fit to run.

        Args:
            skip_invalid: leave out the points that cannot run; one must remain.

        Raises:
            RuleViolation: CFG141 if a point has an error.
            LockStale: CFG141 if nothing is wrong but that a lock does not describe some points.
            HostError: CFG141 if nothing is wrong with any point but this host cannot run one.
        """
        invalid = self.invalid
        if self.merged is None or (invalid and not skip_invalid):
            codes = {told.finding.code for told in self.told if told.finding.severity == "error"}
            kind: type[MmtrtError] = RuleViolation if codes else HostError
            if codes and codes <= _OF_LOCKS:
                kind = LockStale
            all_of = len(invalid) == len(self.entries)
            raise kind(
                f"{len(invalid)} of {len(self.entries)} points cannot run, so nothing was started",
                code="CFG141",
                why="each finding above names its points",
                fix="correct them"
                if all_of
                else "correct them, or add --skip-invalid to run the others",
            )
        return CheckedSweep(self.merged, self.told)


GC_THRESHOLD = 100_000
"""New objects before Python looks for garbage while points are planned (*measured*: with the
default of 700, looking through what a thousand plans keep takes a seventh of the time)."""


@contextlib.contextmanager
def _seldom_collecting() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(max(before[0], GC_THRESHOLD), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


@_seldom_collecting()
def check_points(
    points: Sequence[Sequence[str]],
    planner: Planner,
    first: int = 0,
    *,
    for_this_host: bool = True,
    refuse: Callable[[str], MmtrtError | None] = lambda point: None,
) -> SweepPlan:
    """Plan and check every point.

    Args:
        points: the overrides of each.
        planner: makes the plan of one; what it refuses is a finding of that point.
        first: number of the first point.
        for_this_host: whether a point that this host cannot run has no place in the merged plan;
            who only plans may plan for another.
        refuse: tells what else keeps a point that could be planned from running.
    """
    merger, found = Merger(), _Found()
    entries = []
    for number, words in enumerate(points, first):
        name = str(number)
        point, error = None, None
        try:
            plan = planner(words, number)
            findings = find_all(plan)
            for each in findings.silenced:
                found.silenced.setdefault(each, []).append(name)
            for finding in findings.open:
                found.add(finding, name)
            refused = [f for f in findings.open if f.severity == "error"]
            if for_this_host:
                refused += [f for f in findings.open if f.code.startswith("HST")]
            if (problem := refuse(name)) is not None:
                refused.append(_mistake(problem))
                found.add(refused[-1], name)
            if refused:
                error = refused[0].render()
            else:
                point = merger.add(name, plan)
        except MmtrtError as wrong:
            mistakes = [_mistake(each) for each in (wrong, *wrong.also)]
            for mistake in mistakes:
                found.add(mistake, name)
            error = mistakes[0].render()
        entries.append(Entry(name, tuple(words), point, error))
    merged = merger.merged() if any(entry.point for entry in entries) else None
    return SweepPlan(
        tuple(entries),
        merged,
        found.told(),
        tuple((each, tuple(names)) for each, names in found.silenced.items()),
    )


def refuse_only(sweep: SweepPlan, verdicts: Verdicts) -> SweepPlan:
    """Return the sweep with an error for each point whose ``only=`` leaves out what must be built.

    The merged plan stays as it is: such a sweep does not run.
    """
    found = _Found()
    for entry in sweep.entries:
        point = entry.point
        if point is None or not point.only:
            continue
        for stage, node in point.stages.items():
            if stage not in point.only and verdicts[node].status in ("run", "maybe"):
                found.add(_left_out(point, stage), entry.id)
    if not found.points:
        return sweep
    refused = {name for names in found.points.values() for name in names}
    entries = tuple(
        Entry(e.id, e.overrides, None, "only= leaves out a stage") if e.id in refused else e
        for e in sweep.entries
    )
    return SweepPlan(entries, None, (*found.told(), *sweep.told), sweep.silenced)


def _left_out(point: Point, stage: str) -> Finding:
    return Mistake(
        code="CFG125",
        severity="error",
        message=f"only={','.join(point.only)}, but stage {stage} is not in the store",
        at="only",
        why="",
        fix=f"add it: 'only=[{','.join([stage, *point.only])}]'",
    )


def _mistake(error: MmtrtError) -> Finding:
    return Mistake(
        code=error.code,
        severity="error",
        message=error.message,
        at=error.at or "",
        why=error.why or "",
        fix=error.fix or "",
    )


@dataclass
class _Found:
    """Findings with their points, in the order of the first that has each."""

    points: dict[Finding, list[str]] = field(default_factory=dict)
    silenced: dict[Silenced, list[str]] = field(default_factory=dict)

    def add(self, finding: Finding, name: str) -> None:
        names = self.points.setdefault(finding, [])
        if not names or names[-1] != name:
            names.append(name)

    def told(self) -> tuple[Told, ...]:
        rows = [Told(finding, tuple(names)) for finding, names in self.points.items()]
        return tuple(
            sorted(rows, key=lambda t: (SEVERITIES.index(t.finding.severity), t.finding.code))
        )
