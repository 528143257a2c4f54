"""What a plan asks of a lock; :mod:`mmtrt.pins` answers."""

from __future__ import annotations

from typing import Protocol

from mmtrt.stages import Stage


class Pinning(Protocol):
    """Fixed values for the names that may come to mean something else."""

    @property
    def title(self) -> str:
        """What people know it by, such as ``mmtrt.lock``."""
        ...

    @property
    def backend(self) -> str | None:
        """What ``backend=auto`` means, ``None`` if it is not known."""
        ...

    def engine(self, backend: str) -> str | None:
        """Return what ``engine=auto`` means on a backend, ``None`` if it is not known."""
        ...

    def pinned(self, stage: Stage) -> Stage:
        """Return a stage with commits and versions instead of moving names."""
        ...
