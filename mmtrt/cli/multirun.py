"""Command lines with Hydra's own switches: ``-m``, ``--cfg``, ``--info``, completion."""

from __future__ import annotations

from mmtrt.cli.run import run_session
from mmtrt.cli.session import plan_composed
from mmtrt.config.compose import Composed
from mmtrt.config.hydra_app import run_hydra


def main(args: list[str]) -> int:
    """Hand the command line to Hydra; each of its jobs is one ordinary run."""

    def task(composed: Composed) -> int:
        return run_session(plan_composed(composed))

    return run_hydra(args, task)
