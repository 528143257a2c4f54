"""Command lines with Hydra's own switches: ``-m``, ``--cfg``, ``--info``, completion."""

from __future__ import annotations

from pathlib import Path

from mmtrt.cli import locking
from mmtrt.cli.arguments import Arguments
from mmtrt.cli.run import run_session
from mmtrt.cli.session import plan_composed
from mmtrt.cli.sweep import Options, Planning, Sweeping, command_of, name_of
from mmtrt.config.compose import Composed
from mmtrt.config.hydra_app import is_sweep, run_hydra
from mmtrt.config.overrides import key_of, split

SWITCHES = ("--json", "-q", "--quiet", "--skip-invalid", "--keep-going", *locking.SWITCHES)
"""mmtrt's own switches of a sweep."""


def main(args: list[str]) -> int:
    """Hand the command line to Hydra; mmtrt's launcher hands the points of a sweep back.

    Without a sweep, or with another launcher, each job is one ordinary run.
    """
    typed = list(args)
    parts = split(args)
    dirs = [Path(each) for each in parts.config_dirs]
    own = {word for word in args if word in SWITCHES}
    lock = locking.lock_use(Arguments(flags=dict.fromkeys(own, True)))

    def task(composed: Composed) -> int:
        return run_session(plan_composed(composed, dirs, lock))

    if not is_sweep(parts):
        return run_hydra([word for word in args if word not in locking.SWITCHES], task)
    args = [word for word in args if word not in SWITCHES]
    if "--keep-going" in own:
        args.append("executor.keep_going=true")
    options = Options(
        as_json="--json" in own,
        quiet=bool(own & {"-q", "--quiet"}),
        skip_invalid="--skip-invalid" in own,
    )
    planning = Planning(dirs, parts.config_name, lock)
    sweeping = Sweeping(planning, options, name_of(parts.overrides), command_of(typed))
    try:
        code = run_hydra(args, task, sweeping)
    except BaseException:
        if sweeping.record is not None:
            sweeping.finish()
        raise
    if sweeping.record is None and sweeping.points:
        picks = any(key_of(word) == "hydra/sweeper" for word in parts.overrides)
        sweeping.look_up(only_done=picks)
    return sweeping.finish() or code
