"""A lock over all points of a sweep: their pins, and one table of where it does not fit."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mmtrt.artifacts.store import Store
from mmtrt.cli.locking import STILL, LockUse, lock_command, looked_up
from mmtrt.config.overrides import is_hydra
from mmtrt.config.recipe import Recipe
from mmtrt.host import HostInfo
from mmtrt.report.sweep_view import choices_of_sweep
from mmtrt.rules.sweep import Mistake, SweepPlan, Told

if TYPE_CHECKING:
    from mmtrt.lock.apply import RecipePins
    from mmtrt.lock.drift import LockDrift

CODES = ("LCK101", "LCK102")


@dataclass
class SweepLock:
    """The lock of a sweep, as its points are planned."""

    use: LockUse
    words: Sequence[str] = ()
    """The overrides of the sweep, for what it says to type."""
    config_dirs: Sequence[Path] = ()
    names: dict[str, None] = field(default_factory=dict)
    """Recipes that the lock was used for, each a ``recipe/variant``."""
    _problems: dict[str, LockDrift] = field(default_factory=dict)
    """Id of a point -> where the lock does not describe it."""

    def read(self) -> None:
        """Read the file, so that one which cannot be understood is no finding of every point.

        Raises:
            LockStale: LCK103.
        """
        if self.use.mode != "ignored" and self.use.is_there:
            _ = self.use.lock

    def pins(self, recipe: Recipe, host: HostInfo, store: Store, point: str) -> RecipePins | None:
        """Return the pins of a point; what is wrong with them is kept.

        Raises:
            LockStale: LCK103, if the file cannot be understood.
        """
        pins, problem = looked_up(recipe, host, store, self.use)
        self._problems.pop(point, None)
        if problem is not None:
            self._problems[point] = problem
        if pins is not None:
            self.names[pins.name] = None
        return pins

    def refuse(self, point: str) -> LockDrift | None:
        """Return why a point must not run: LCK101 or LCK102, if a lock is required."""
        return self._problems.get(point) if self.use.mode == "required" else None

    def told(self, sweep: SweepPlan) -> SweepPlan:
        """Return a sweep with one finding of the lock for all points; warn where it is no error."""
        ids = [entry.id for entry in sweep.entries]
        problems = {name: self._problems[name] for name in ids if name in self._problems}
        if not problems:
            return sweep
        one = self._finding(sweep, problems)
        if self.use.mode == "required":
            rest = (told for told in sweep.told if told.finding.code not in CODES)
            return replace(sweep, told=(Told(one, tuple(problems)), *rest))
        if not self.use.is_quiet:
            print(one.render(), file=sys.stderr)
        return sweep

    def _finding(self, sweep: SweepPlan, problems: dict[str, LockDrift]) -> Mistake:
        from mmtrt.lock.drift import ASKED, aligned, no_file

        title, is_error = str(self.use.path), self.use.mode == "required"
        is_missing = all(problem.drift is None for problem in problems.values())
        message = f"{title} does not describe {len(problems)} of {len(sweep.entries)} points"
        why = "the lock and what is here:\n" + aligned(
            ("ENTRY", "POINTS", "FIELD", "LOCKED", "PRESENT"), list(_rows(sweep, problems))
        )
        if not self.use.is_there:
            message, why = no_file(title), ASKED
        elif is_missing:
            names = dict.fromkeys(problem.name for problem in problems.values())
            message, why = f"{title} has no entry for {', '.join(names)}", ASKED if is_error else ""
        elif not is_error:
            why = f"{STILL}; {why}"
        words = ["-m", *(_lasting(self.words))]
        return Mistake(
            code="LCK102" if is_missing else "LCK101",
            severity="error" if is_error else "warning",
            message=message,
            at="",
            why=why,
            fix=lock_command(words, self.config_dirs, self.use.path),
        )


def _lasting(words: Sequence[str]) -> list[str]:
    """Return the words that a lock depends on, without those for Hydra."""
    from mmtrt.lock.needs import lasting

    return [word for word in lasting(words) if not is_hydra(word)]


def _rows(sweep: SweepPlan, problems: dict[str, LockDrift]) -> Iterable[tuple[str, ...]]:
    """Yield a row for each field that differs, equal ones of several points once."""
    choices = choices_of_sweep(sweep)
    groups: dict[tuple[str, object], list[str]] = {}
    for point, problem in problems.items():
        groups.setdefault((problem.name, problem.drift), []).append(point)
    for points in groups.values():
        problem = problems[points[0]]
        first = (problem.name, choices.shortly(points))
        if problem.drift is None:
            yield (*first, "-", "no entry", "-")
        for row in problem.drift or ():
            yield (*first, row.field, row.locked, row.present)
            first = ("", "")
