"""Command lines with Hydra's own switches: ``-m``, ``--cfg``, ``--info``, completion."""

from __future__ import annotations

from pathlib import Path

from mmtrt.cli.run import run_session
from mmtrt.cli.session import plan_composed
from mmtrt.config.compose import Composed
from mmtrt.config.hydra_app import run_hydra
from mmtrt.config.overrides import split


def main(args: list[str]) -> int:
    """Hand the command line to Hydra; each of its jobs is one ordinary run."""
    dirs = [Path(each) for each in split(args).config_dirs]

    def task(composed: Composed) -> int:
        return run_session(plan_composed(composed, dirs))

    return run_hydra(args, task)
