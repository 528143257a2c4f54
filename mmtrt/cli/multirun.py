"""Command lines with Hydra's own switches: ``-m``, ``--cfg``, ``--info``, completion."""

from __future__ import annotations

from mmtrt.cli.run import run_session
from mmtrt.cli.session import plan_settings
from mmtrt.config.compose import Composed
from mmtrt.config.hydra_app import run_hydra


def main(args: list[str]) -> int:
    """Hand the command line to Hydra; each of its jobs is one ordinary run."""

    def task(composed: Composed) -> int:
        session = plan_settings(
            composed.settings, composed.data, tuple(composed.overrides), composed.where
        )
        return run_session(session)

    return run_hydra(args, task)
