"""Command lines with Hydra's own switches: ``-m``, ``--cfg``, ``--info``, completion."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from mmtrt.cli import locking
from mmtrt.cli.arguments import Arguments
from mmtrt.cli.run import run_session
from mmtrt.cli.session import plan_composed
from mmtrt.cli.sweep import Options, Planning, Sweeping, command_of, name_of
from mmtrt.config.compose import Composed
from mmtrt.config.hydra_app import is_sweep, run_hydra
from mmtrt.config.overrides import key_of, split
from mmtrt.errors import Interrupted, UsageError

SWITCHES = ("--json", "-q", "--quiet", "--skip-invalid", "--keep-going", *locking.SWITCHES)
"""mmtrt's own switches of a sweep; with a value, those of a lock."""


def main(args: list[str]) -> int:
    """Hand the command line to Hydra; mmtrt's launcher hands the points of a sweep back.

    Without a sweep, or with another launcher, each job is one ordinary run.
    """
    typed = list(args)
    own, args = _own(args)
    parts = split(args)
    dirs = [Path(each) for each in parts.config_dirs]
    lock = locking.lock_use(Arguments(flags=own))

    options = Options(
        as_json="--json" in own,
        quiet="-q" in own or "--quiet" in own,
        skip_invalid="--skip-invalid" in own,
    )

    def task(composed: Composed) -> int:
        # The answers of points that another launcher runs are not the document of the sweep.
        with contextlib.redirect_stdout(sys.stderr if options.as_json else sys.stdout):
            return run_session(plan_composed(composed, dirs, lock), quiet=options.quiet)

    if not is_sweep(parts):
        mine = [word for word in own if word not in locking.SWITCHES + locking.VALUED]
        return run_hydra([*args, *mine], task)
    if "--keep-going" in own:
        args.append("executor.keep_going=true")
    planning = Planning(dirs, parts.config_name, lock, parts.overrides)
    sweeping = Sweeping(planning, options, name_of(parts.overrides), command_of(typed))
    try:
        code = run_hydra(args, task, sweeping)
    except BaseException as error:
        if sweeping.record is not None:
            sweeping.has_stopped = True
            sweeping.finish()
        if isinstance(error, KeyboardInterrupt):  # another launcher takes it as it comes
            raise Interrupted(
                "stopped; what is finished is in the store",
                code="RUN130",
                fix="run the same command again to go on",
            ) from error
        raise
    if sweeping.record is None and sweeping.points:
        picks = any(key_of(word) == "hydra/sweeper" for word in parts.overrides)
        sweeping.look_up(only_done=picks)
    return sweeping.finish() or code


def _own(args: Sequence[str]) -> tuple[dict[str, str | bool], list[str]]:
    """Return mmtrt's own switches with their values, and the words for Hydra.

    Raises:
        UsageError: CFG002, for a switch whose value is missing.
    """
    own: dict[str, str | bool] = {}
    rest, words = [], list(args)
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if word in SWITCHES:
            own[word] = True
        elif name in locking.VALUED:
            if not equals and not words:
                raise UsageError(f"{name} needs a value", code="CFG002", fix=f"{name} FILE")
            own[name] = value if equals else words.pop(0)
        else:
            rest.append(word)
    return own, rest
