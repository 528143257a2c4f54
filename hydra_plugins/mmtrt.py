"""mmtrt's launcher and sweeper, where Hydra looks for them; what they call is in the package.

Hydra imports this module whenever any program in this environment uses Hydra, so it imports little.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher as HydraLauncher


class Launcher(HydraLauncher):
    """Hands all points of a batch to mmtrt, which runs them as one graph."""

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        """Remember Hydra's configuration; a point's own is composed by mmtrt."""
        self.config = config

    def launch(self, job_overrides: Any, initial_job_idx: int) -> Sequence[Any]:
        """Run the points and return how each went."""
        from mmtrt.config.launcher import launch

        batch = [list(overrides) for overrides in job_overrides]
        returns = []
        for words, outcome in zip(batch, launch(batch, initial_job_idx, self.config), strict=True):
            job = JobReturn(overrides=words, status=JobStatus.COMPLETED)
            job.return_value = outcome.value
            if outcome.error is not None:
                job.status, job.return_value = JobStatus.FAILED, outcome.error
            returns.append(job)
        return returns


class Sweeper(BasicSweeper):
    """Hydra's own sweeper, but equal points are one, and none is composed just to see if it can.

    Points that ``--skip-invalid`` leaves out get to no launcher.
    """

    def validate_batch_is_legal(self, batch: Any) -> None:
        """Leave that to mmtrt's launcher, which tells of every mistake at once."""
        if not isinstance(self.launcher, Launcher):
            super().validate_batch_is_legal(batch)

    @staticmethod
    def split_arguments(overrides: Any, max_batch_size: int | None) -> Any:
        """Return the points in batches, each point once."""
        (points,) = BasicSweeper.split_arguments(overrides, None)
        from mmtrt.config.launcher import choose

        unique = choose(list({tuple(point): point for point in points}.values()))
        chunks = BasicSweeper.split_overrides_to_chunks(unique, max_batch_size)
        return list(chunks) if unique else []
