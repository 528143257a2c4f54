"""Hydra's own switches: ``--cfg``, ``--info``, ``-m``, shell completion and the rest.

Everything runs through ``hydra.main``, so that launchers, sweepers, callbacks and plugins work as
their documentation says. Mistakes are found before, and told as everywhere else in mmtrt.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from mmtrt.config import keys, mistakes
from mmtrt.config.compose import Composed, Composer, together
from mmtrt.config.grammar import parse
from mmtrt.config.hydra_compose import quiet, searching, version_base
from mmtrt.config.launcher import Outcome, launching
from mmtrt.config.overrides import (
    CFG_CHOICES,
    GROUPS,
    INFO_CHOICES,
    Arguments,
    canonical,
    for_hydra,
    key_of,
    looks_like_override,
    quoted,
    split,
    value_of,
)
from mmtrt.config.root import search_dirs
from mmtrt.errors import Interrupted, MmtrtError, RecipeError, UsageError

Task = Callable[[Composed], int]
"""Does the work of one job and returns its exit code."""


class Sweep(Protocol):
    """Does the work of many points together."""

    def launch(
        self, points: Sequence[Sequence[str]], first: int, is_search: bool = False
    ) -> Sequence[Outcome]:
        """Run points.

        Args:
            points: the overrides of each.
            first: number of the first of them.
            is_search: whether the sweeper wants to know how good each of them is.
        """
        ...

    def check(self, points: Sequence[Sequence[str]], launcher: str, sweeper: str | None) -> None:
        """Refuse points that another launcher would run into an error.

        Args:
            points: the overrides of each.
            launcher: name of the other launcher.
            sweeper: name of another sweeper, which picks some of the points; ``None`` for ours.
        """
        ...

    def is_left_out(self, point: Sequence[str]) -> bool:
        """Return whether a point that was checked is not to be launched."""
        ...

    def value(self, point: Sequence[str]) -> Any:
        """Return what the sweeper asks of a point that another launcher has run."""
        ...


PROGRAM = "mmtrt"
ON_THIS_HOST = ("joblib", "basic")
"""Launchers of others that run every point on this machine and leave no files behind."""
_OWN_SWEEPERS = ("mmtrt.Sweeper", "basic_sweeper.BasicSweeper")
_MODES = ("--run", "--multirun", "--cfg", "--info", "--shell-completion", "--hydra-help")


def run_hydra(argv: Sequence[str], task: Task, sweep: Sweep | None = None) -> int:
    """Do what Hydra's switches ask for, and return the exit code.

    A sweep is checked as a whole before anything starts. mmtrt's launcher hands its points to
    ``sweep``; without one, and with other launchers, every point is a job of its own: all of them
    run, and the first exit code that is not 0 is returned. Hydra's records of a sweep go to a
    temporary directory, unless ``hydra.sweep.dir`` is given, or a launcher that other machines work
    for: mmtrt keeps its own.

    Raises:
        RecipeError: for every mistake in overrides and recipes.
        UsageError: CFG002, for switches that do not go together.
        MmtrtError: what the task or the sweep raised; of several jobs the first, with the others
            attached.
    """
    arguments = split(argv)
    arguments.overrides = canonical(arguments.overrides)
    _check_usage(arguments)
    dirs = search_dirs(arguments.config_dirs)
    if arguments.switch("--shell-completion") is not None:
        return _complete(arguments, dirs)
    _check(arguments, sweep)
    jobs = _Jobs(task, arguments, os.getpid(), sweep)
    words = _words_for_hydra(arguments.overrides)
    with _sweep_dir(arguments) as extra, launching(jobs.launch, jobs.choose):
        status = _hydra_main(arguments, [*words, *extra], dirs, jobs.run)
    is_ours = not _chosen(arguments.overrides, "launcher", ("mmtrt",))
    if not status and is_sweep(arguments) and extra and is_ours and not jobs.started:
        raise RecipeError(
            "the sweep has no points",
            code="CFG108",
            why="an override with a list of values has none",
            fix="give at least one value, as in tp=1,2",
        )
    return status or jobs.outcome()


def _check_usage(arguments: Arguments) -> None:
    if arguments.rest:
        raise UsageError(
            f"{arguments.rest[0]!r} does not go with Hydra's switches",
            code="CFG002",
            why=f"{' '.join(arguments.hydra) or 'an override of hydra'} is answered by Hydra alone",
            fix=f"leave {arguments.rest[0]} out",
        )
    modes = [each for each in _MODES if arguments.switch(each) is not None]
    if len(modes) > 1:
        raise UsageError(
            f"{' and '.join(modes)} do not go together", code="CFG002", fix=f"use {modes[0]} alone"
        )
    if arguments.switch("--resolve") is not None and arguments.switch("--cfg") is None:
        raise UsageError("--resolve goes with --cfg only", code="CFG002", fix="add --cfg job")
    for name, choices in (("--cfg", CFG_CHOICES), ("--info", ("", *INFO_CHOICES))):
        value = arguments.switch(name)
        if value is not None and value not in choices:
            raise UsageError(
                f"{name} takes {', '.join(filter(None, choices))}, not {value!r}",
                code="CFG002",
                fix=f"{name} {next(filter(None, choices))}",
            )


def _check(arguments: Arguments, sweep: Sweep | None) -> None:
    """Find mistakes where Hydra would tell them less well, or too late."""
    words, name = arguments.overrides, arguments.config_name
    foreign = ("--hydra-help", "--config-path", "--experimental-rerun")
    if any(arguments.switch(each) is not None for each in foreign):
        return
    if arguments.switch("--info") == "plugins":
        return
    composer = Composer(arguments.config_dirs, name)
    if arguments.switch("--cfg") is not None or arguments.switch("--info") is not None:
        problems = composer.look(words)
    elif not is_sweep(arguments):
        composer.compose(words)
        return
    else:
        points = composer.expand(words)
        if points and sweep is not None:
            _, problems = parse(words)
            launcher = _chosen(words, "launcher", ("mmtrt",))
            if not problems and launcher:
                sweep.check(points, launcher, _chosen(words, "sweeper", ("mmtrt", "basic")))
        else:
            problems = composer.problems(points or [_without_sweeps(words)])
    if problems:
        raise together(problems)


def _chosen(words: Sequence[str], what: str, ours: Sequence[str]) -> str | None:
    """Return the plugin that the command line asks for; ``None`` if it is one of ours."""
    chosen = [value_of(word) for word in words if key_of(word) == f"hydra/{what}"]
    return chosen[-1] if chosen and chosen[-1] not in ours else None


def is_sweep(arguments: Arguments) -> bool:
    """Tell whether a command line asks for a sweep."""
    return arguments.switch("--multirun") is not None or any(
        key_of(each) == "hydra.mode" and value_of(each) == "MULTIRUN"
        for each in arguments.overrides
    )


def _without_sweeps(words: Sequence[str]) -> tuple[str, ...]:
    parsed, _ = parse(words)
    swept = {each.text for each in parsed if each.is_sweep}
    return tuple(word for word in words if word not in swept)


def _words_for_hydra(words: Sequence[str]) -> list[str]:
    parsed, _ = parse(words)
    by_text = {each.text: for_hydra(each) for each in parsed}
    return [by_text.get(word, word) for word in words]


@dataclass
class _Jobs:
    """Hands each job of Hydra to the task, and keeps what came of it.

    Hydra would print a traceback for an exception, so none reaches it in this process. A launcher
    may run jobs in other processes, from which only an exception tells that a job has failed.
    """

    task: Task
    arguments: Arguments
    pid: int
    sweep: Sweep | None = None
    started: int = 0
    """How many jobs ran in this process."""
    codes: list[int] = field(default_factory=list)
    errors: list[MmtrtError] = field(default_factory=list)

    @cached_property
    def _composer(self) -> Composer:
        return Composer(self.arguments.config_dirs, self.arguments.config_name)

    def run(self, config: Any) -> Any:
        """Do one job of Hydra's; return what a sweeper may ask for, else the exit code."""
        from hydra.core.hydra_config import HydraConfig

        self.started += 1
        chosen = HydraConfig.get().overrides
        words = self._as_typed(chosen.task, chosen.hydra)

        code = self._run(lambda: self._composer.compose(words, None))
        return code if code or self.sweep is None else self.sweep.value(words)

    def launch(self, points: Sequence[Sequence[str]], first: int, config: Any) -> Sequence[Outcome]:
        """Take the points that mmtrt's launcher gets."""
        self.started += len(points)
        hydra = config.hydra.overrides.hydra
        batch = [self._as_typed(point, hydra) for point in points]
        if self.sweep is not None:
            # A sweeper with a direction searches: it must be told for what.
            outcomes = self.sweep.launch(batch, first, "direction" in config.hydra.sweeper)
            # Hydra's own sweeper makes an exception of a failed point, and the sweep has told it.
            is_own = str(config.hydra.sweeper._target_).endswith(_OWN_SWEEPERS)
            return [Outcome() for _ in outcomes] if is_own else outcomes
        return [
            Outcome(self._run(lambda i=i: self._composer.compose(batch[i], first + i)))  # type: ignore[misc] # mypy knows no default of a lambda
            for i in range(len(batch))
        ]

    def choose(self, points: Sequence[Sequence[str]]) -> list[Sequence[str]]:
        """Leave out what is not to be launched; our own launcher is told of every point."""
        sweep = self.sweep
        if sweep is None:
            return list(points)
        return [point for point in points if not sweep.is_left_out(self._as_typed(point, ()))]

    def _as_typed(self, task: Sequence[str], hydra: Sequence[str]) -> list[str]:
        """Return a job's overrides as the user typed them, and where else to search."""
        given = set(self.arguments.overrides)
        words = [word[2:] if word.startswith("++") and word not in given else word for word in task]
        return [*words, *(word for word in hydra if "searchpath" in word)]

    def _run(self, compose_job: Callable[[], Composed]) -> int:
        try:
            code = self.task(compose_job())
        except Exception as err:
            if os.getpid() != self.pid:
                raise
            if isinstance(err, MmtrtError) and not isinstance(err, Interrupted):
                self.errors.append(err)
                return err.exit_code
            raise _Stop(err) from err
        if code and os.getpid() != self.pid:
            raise _JobFailed(code)
        self.codes.append(code)
        return code

    def outcome(self) -> int:
        if self.errors:
            first, *others = self.errors
            first.also = [*first.also, *others]
            raise first
        return next((code for code in self.codes if code), 0)


class _Stop(BaseException):
    """Ends a sweep at once: Ctrl-C, or a bug of ours. Hydra keeps every ``Exception`` for later."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(cause)
        self.cause = cause


class _JobFailed(Exception):
    """A job in another process returned an exit code other than 0."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@contextlib.contextmanager
def _sweep_dir(arguments: Arguments) -> Iterator[list[str]]:
    """Give a sweep a directory for Hydra's records, and remove it afterwards."""
    given = {key_of(each) for each in arguments.overrides}
    launcher = _chosen(arguments.overrides, "launcher", ("mmtrt", *ON_THIS_HOST))
    if not is_sweep(arguments) or launcher or "hydra.sweep.dir" in given:
        yield []
        return
    place = tempfile.mkdtemp(prefix="mmtrt-sweep-")
    try:
        yield [f"hydra.sweep.dir={quoted(place)}"]
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _hydra_main(
    arguments: Arguments,
    words: Sequence[str],
    dirs: Sequence[Path],
    run: Callable[[Any], Any],
) -> int:
    """Start Hydra's application with our command line; return its exit code."""
    import hydra

    given = sys.argv, os.environ.get("HYDRA_FULL_ERROR")

    def job(config: Any) -> Any:
        with _process(*given):
            return run(config)

    job.__module__ = PROGRAM  # Hydra names its job after the module
    switches = ["--info=all" if each == "--info" else each for each in arguments.hydra]
    argv = [PROGRAM, *switches, f"--config-name={arguments.config_name}", *words]
    app = hydra.main(config_path=str(dirs[0]), config_name=arguments.config_name, **version_base())
    try:
        # A full error is raised; any other is printed by Hydra, which then exits.
        with quiet(), searching(dirs[1:]), _root_logger_kept(), _process(argv, "1"):
            app(job)()
    except SystemExit as err:
        return UsageError.exit_code if err.code else 0
    except _JobFailed as err:
        return err.code
    except _Stop as stop:
        raise stop.cause from None
    except (MmtrtError, BrokenPipeError):
        raise
    except Exception as err:
        raise mistakes.from_hydra(err, arguments.overrides) from err
    return 0


@contextlib.contextmanager
def _process(argv: list[str], full_error: str | None) -> Iterator[None]:
    """Set what Hydra reads from the process, and put it back afterwards."""
    before = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    _set_process(argv, full_error)
    try:
        yield
    finally:
        _set_process(*before)


def _set_process(argv: list[str], full_error: str | None) -> None:
    sys.argv = argv
    if full_error is None:
        os.environ.pop("HYDRA_FULL_ERROR", None)
    else:
        os.environ["HYDRA_FULL_ERROR"] = full_error


@contextlib.contextmanager
def _root_logger_kept() -> Iterator[None]:
    """Undo what ``--info`` and ``hydra.verbose`` do to logging."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


# Shell completion


def _complete(arguments: Arguments, dirs: Sequence[Path]) -> int:
    """Print Hydra's completion script, or how a half-typed command line may go on.

    Our own keys and choices are known without composing anything; what Hydra alone knows is asked
    of Hydra. A shell that asks gets no error: it would print it over the command line.
    """
    words = arguments.overrides
    if not any(key_of(each) == "query" for each in words):
        return _hydra_main(arguments, words, dirs, lambda config: 0)
    line = os.environ.get("COMP_LINE", PROGRAM)
    *typed, last = line.split(" ")[1:] or [""]
    found = _known(typed, last, dirs)
    if found:
        is_fish = any(value_of(each) == "fish" for each in words)
        print(("\n" if is_fish else " ").join(found))  # noqa: T201 - the answer to the shell
        return 0
    kept = [each for each in typed if looks_like_override(each)]
    with contextlib.suppress(MmtrtError, KeyError), _comp_line(" ".join((PROGRAM, *kept, last))):
        _hydra_main(arguments, words, dirs, lambda config: 0)
    return 0


def _known(typed: Sequence[str], last: str, dirs: Sequence[Path]) -> list[str]:
    from mmtrt.config.catalogue import recipe_entry
    from mmtrt.config.root import choices

    named = {group: choices(group, dirs) for group in GROUPS}
    recipe = next((value_of(each) for each in typed if key_of(each) == "recipe"), "")
    if last.startswith(("variant=", "session=")) and recipe in named["recipe"]:
        entry = recipe_entry(recipe, dirs)
        named |= {"variant": list(entry.variants), "session": list(entry.sessions)}
    return keys.complete(last, named)


@contextlib.contextmanager
def _comp_line(line: str) -> Iterator[None]:
    before = os.environ.get("COMP_LINE")
    os.environ["COMP_LINE"] = line
    try:
        yield
    finally:
        if before is None:
            del os.environ["COMP_LINE"]
        else:
            os.environ["COMP_LINE"] = before
