"""What a plan asks of a lock; :mod:`mmtrt.lock` answers."""

from __future__ import annotations

from collections.abc import Sequence
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

    def engines(self, backend: str) -> Sequence[str]:
        """Return what ``engine=auto`` may mean on a backend; the first that can do it counts."""
        ...

    def pinned(self, stage: Stage, toolchain: str) -> Stage:
        """Return a stage with commits and versions instead of moving names.

        Args:
            stage: as the recipe has it.
            toolchain: version of the backend's.
        """
        ...
