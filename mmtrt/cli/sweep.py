"""Sweeps: what ``mmtrt -m``, ``mmtrt plan -m`` and ``mmtrt check -m`` share."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmtrt.artifacts.store import Store
from mmtrt.cli.locking import LockUse, lock_use, record_lock
from mmtrt.cli.sweep_locking import SweepLock
from mmtrt.config.compose import Composer
from mmtrt.config.hydra_app import ON_THIS_HOST
from mmtrt.config.launcher import Outcome
from mmtrt.config.overrides import EXPERIMENT, is_hydra, key_of, value_of
from mmtrt.config.recipe import resolve
from mmtrt.config.schema import Paths, listed
from mmtrt.errors import GateMissed, StageFailed, UsageError
from mmtrt.executor import events
from mmtrt.executor.loop import execute
from mmtrt.host import probe
from mmtrt.plan.assess import Verdicts, assess_graph
from mmtrt.plan.build import make_plan
from mmtrt.plan.graph import Plan
from mmtrt.redaction import of_environment
from mmtrt.report.sweep_display import SweepDisplay
from mmtrt.report.sweep_record import SweepRecord, lines_of
from mmtrt.report.sweep_results import Results
from mmtrt.report.sweep_table import write_results
from mmtrt.report.sweep_view import choices_of_sweep, findings_text, sweep_json, titles_of
from mmtrt.report.units import duration_text
from mmtrt.rules.sweep import Planner, SweepPlan, check_points, refuse_only


@dataclass(frozen=True, slots=True)
class Options:
    """The switches of ``mmtrt -m`` that are mmtrt's own."""

    as_json: bool = False
    quiet: bool = False
    skip_invalid: bool = False


class Planning:
    """Plans the points of a sweep for this host."""

    def __init__(
        self,
        config_dirs: Sequence[Path],
        config_name: str = "config",
        lock: LockUse | None = None,
        words: Sequence[str] = (),
    ) -> None:
        """Search the user's own directories, too; heed ``lock``, or as the environment says.

        ``words`` are the overrides of the sweep, for what messages say to type.
        """
        self.composer = Composer(config_dirs, config_name)
        self.paths: Paths | None = None
        """Of the first point that could be composed."""
        self.objective: tuple[str, ...] = ()
        self._dirs = tuple(config_dirs)
        self._host = probe()
        self.lock = SweepLock(lock or lock_use(), words, self._dirs)

    def planned(
        self, points: Sequence[Sequence[str]], first: int = 0, *, for_this_host: bool = True
    ) -> SweepPlan:
        """Plan and check every point; see :func:`mmtrt.rules.sweep.check_points`.

        Raises:
            LockStale: LCK103, if there is a lock that cannot be understood.
        """
        self.lock.read()
        planner: Planner = self._plan
        return self.lock.told(
            check_points(
                points, planner, first, for_this_host=for_this_host, refuse=self.lock.refuse
            )
        )

    def assessed(self, sweep: SweepPlan) -> tuple[SweepPlan, Verdicts | None]:
        """Look the nodes of a merged plan up in the store."""
        if sweep.merged is None:
            return sweep, None
        verdicts = assess_graph(sweep.merged, self.store)
        return refuse_only(sweep, verdicts), verdicts

    @property
    def store(self) -> Store:
        """The store of the sweep."""
        assert self.paths is not None
        return Store(Path(self.paths.store))

    def _plan(self, words: Sequence[str], number: int) -> Plan:
        composed = self.composer.compose(words, number)
        settings = composed.settings
        self.paths = self.paths or settings.paths
        self.objective = tuple(listed(settings.sweep.objective))
        recipe = resolve(settings, composed.overrides, composed.where, self._dirs)
        pins = self.lock.pins(recipe, self._host, self.store, str(number))
        return make_plan(recipe, self._host, pins)


@dataclass
class Sweeping:
    """One ``mmtrt -m``: takes batches of points from Hydra and runs each as one graph."""

    planning: Planning
    options: Options
    name: str
    command: str
    results: Results = field(init=False)
    record: SweepRecord | None = None
    has_failed: bool = False
    has_stopped: bool = False
    """Whether it was ended from outside, or could not go on."""
    seconds: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    left_out: set[frozenset[str]] = field(default_factory=set)
    """Points that another launcher does not get."""
    points: list[tuple[str, ...]] = field(default_factory=list)
    """What another launcher runs; its results are looked up in the store afterwards."""

    def __post_init__(self) -> None:
        self.results = Results(self.name, self.command)

    def check(self, points: Sequence[Sequence[str]], launcher: str, sweeper: str | None) -> None:
        """Refuse points that another launcher would run into an error.

        Raises:
            UsageError: CFG143, for --skip-invalid with a sweeper that picks points as it goes on.
            RuleViolation: CFG141.
        """
        if self.options.skip_invalid and sweeper is not None:
            raise UsageError(
                f"--skip-invalid cannot leave out points of hydra/sweeper={sweeper}",
                code="CFG143",
                why=f"it hands them to hydra/launcher={launcher} itself, as it picks them",
                fix="leave hydra/launcher out: mmtrt's own leaves out points of any sweeper",
            )
        # The nodes of a cluster check themselves.
        planned = self.planning.planned(points, for_this_host=launcher in ON_THIS_HOST)
        sweep, _ = self.planning.assessed(planned)
        self._tell(sweep)
        sweep.checked(self.options.skip_invalid)
        self.points = [tuple(point) for point in points]
        self.left_out = {_plainly(entry.overrides) for entry in sweep.invalid}

    def is_left_out(self, point: Sequence[str]) -> bool:
        """Return whether a point is left out, as it is checked before anything runs."""
        return _plainly(point) in self.left_out

    def launch(
        self, points: Sequence[Sequence[str]], first: int, is_search: bool = False
    ) -> Sequence[Outcome]:
        """Check all points, then run what the store lacks.

        Raises:
            UsageError: CFG142 if the sweeper searches and nobody said for what.
            RuleViolation: CFG141 if a point cannot run, before anything starts.
            Interrupted: on Ctrl-C; what is finished is kept and told.
        """
        sweep, verdicts = self.planning.assessed(self.planning.planned(points, first))
        self._tell(sweep)
        checked = sweep.checked(self.options.skip_invalid)
        if is_search and not self.planning.objective:
            raise UsageError(
                "this sweeper wants to know what to make better",
                code="CFG142",
                why="sweep.objective is not set",
                fix="sweep.objective=decode_tokens_per_s hydra.sweeper.direction=maximize",
            )
        merged, paths = checked.plan, self.planning.paths
        assert paths is not None
        self.results.add(sweep.entries, merged, sweep.told)
        record = self.record = self.record or SweepRecord(Path(paths.runs), self.name, self.results)
        record.write_plan(sweep_json(sweep, verdicts))
        self._record_pins(record)
        record.write()
        titles = titles_of(merged, choices_of_sweep(sweep))
        display = SweepDisplay(titles, self.options.quiet)
        listeners = (self.results.listen, record.listen, display.listen)
        try:
            result = execute(checked, self.planning.store, listeners, assessment=verdicts)
        finally:
            display.close()
            self.results.close()
            record.finish()
        self.has_failed |= bool(result.failures)
        self.seconds += result.seconds
        for stage in result.stages:
            self.counts[stage.status] = self.counts.get(stage.status, 0) + 1
        return [self._valued(self.results.row(entry.id)) for entry in sweep.entries]

    def value(self, point: Sequence[str]) -> Any:
        """Return what the sweeper asks of a point that another launcher has run."""
        results = Results(self.name)
        sweep = self._from_store([point], results)
        if sweep is None or not self.planning.objective:
            return None
        return self._valued(results.row("0")).value

    def look_up(self, only_done: bool = False) -> None:
        """Take the results of what another launcher ran from the store; nothing is started.

        Args:
            only_done: whether the sweeper picked some of the points, and the others are not meant.
        """
        points = self.points
        if only_done:
            every = Results(self.name)
            self._from_store(points, every)
            points = [points[i] for i, row in enumerate(every.rows()) if row["status"] == "done"]
        sweep = self._from_store(points, self.results)
        if sweep is None or self.planning.paths is None:
            return
        self.record = SweepRecord(Path(self.planning.paths.runs), self.name, self.results)
        self.record.write_plan(sweep_json(*self.planning.assessed(sweep)))
        self._record_pins(self.record)
        self.record.finish()

    def _from_store(self, points: Sequence[Sequence[str]], results: Results) -> SweepPlan | None:
        """Let results be of what the store has; ``None`` where no point can be planned."""
        if not points:
            return None
        planned = self.planning.planned(points, for_this_host=False)
        sweep, verdicts = self.planning.assessed(planned)
        if verdicts is None:
            return None
        results.add(sweep.entries, sweep.merged, sweep.told)
        for name, state in verdicts.states.items():
            if state.artifact is not None and state.key is not None:
                path = str(state.artifact.path)
                results.listen(events.StageHit(name, state.node.kind, state.key, path))
        return sweep

    def _record_pins(self, record: SweepRecord) -> None:
        lock = self.planning.lock
        if lock.names and record.path is not None:
            record_lock(lock.use.lock, lock.names, record.path)

    def finish(self) -> int:
        """Print the table and return the exit code."""
        record = self.record
        if record is None:
            return 0
        record.close()
        document = self.results.document()
        if self.options.as_json:
            run = None if record.path is None else str(record.path)
            sys.stdout.write(lines_of({**document, "run": run}))
        else:
            write_results(sys.stdout, document)
        sys.stdout.flush()
        if record.warning:
            print(f"warning: {record.warning}", file=sys.stderr)
        broken = [point for point in document["points"] if point["status"] == "failed"]
        for point in broken[:5]:
            first = str(point["error"]).split("\n")[0]
            print(f"point {point['id']}: {first}", file=sys.stderr)
        if not self.options.quiet:
            print(self._summary(document), file=sys.stderr)
        if self.has_failed:
            return StageFailed.exit_code
        missed = any(point.get("gate_missed") for point in document["points"])
        return GateMissed.exit_code if missed else 0

    def _tell(self, sweep: SweepPlan) -> None:
        told = [
            each
            for each in sweep.told
            if each.finding.severity == "error" or not self.options.quiet
        ]
        if told:
            print(findings_text(told, choices_of_sweep(sweep)), file=sys.stderr)

    def _valued(self, row: Mapping[str, Any]) -> Outcome:
        name = row["id"]
        if row["status"] != "done":
            return Outcome(error=StageFailed(f"point {name} is {row['status']}: {row['error']}"))
        values = [row[figure] for figure in self.planning.objective]
        lacking = [f for f, v in zip(self.planning.objective, values) if v is None]
        if lacking:
            message = f"point {name} has no {lacking[0]}, which sweep.objective names"
            return Outcome(error=StageFailed(message, code="CFG142"))
        return Outcome(values[0] if len(values) == 1 else tuple(values) if values else None)

    def _summary(self, document: dict[str, Any]) -> str:
        points: dict[str, int] = {}
        for row in document["points"]:
            status = row["status"].replace("_", " ")
            points[status] = points.get(status, 0) + 1
        words = {"done": "built", "hit": "from the store", "failed": "failed"}
        words["skipped"] = "not started"
        parts = [f"{count} points {status}" for status, count in points.items()]
        nodes = [f"{self.counts[s]} {word}" for s, word in words.items() if self.counts.get(s)]
        tail = f"; nodes: {', '.join(nodes)}" if nodes else ""
        where = ""
        if self.record is not None and self.record.path is not None:
            where = f"; results: {self.record.path / 'results.json'}"
        verdict = "Failed" if self.has_failed else "Stopped" if self.has_stopped else "Done"
        took = "" if self.has_stopped else f" in {duration_text(self.seconds)}"
        return f"{verdict}{took}: {', '.join(parts)}{tail}{where}"


def _plainly(words: Sequence[str]) -> frozenset[str]:
    """Return a point's own words; Hydra keeps those for itself apart."""
    return frozenset(word for word in words if not is_hydra(word))


def name_of(overrides: Sequence[str]) -> str:
    """Return what a sweep's record is called: its experiment, else ``sweep``."""
    named = [value_of(word) for word in overrides if key_of(word) == EXPERIMENT]
    plain = named[-1] if named else "sweep"
    return plain if plain and all(c.isalnum() or c in "_-." for c in plain) else "sweep"


def command_of(args: Sequence[str]) -> str:
    """Return the command line as one would type it, without credentials."""
    return of_environment().text(shlex.join(["mmtrt", *args]))
