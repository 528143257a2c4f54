"""A lock put into a plan: commits and versions stand where the recipe has names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mmtrt.lock.tables import (
    Lock,
    LockedClone,
    LockedDownload,
    LockedEnvironment,
    LockedRecipe,
    name_of,
    table_of,
)
from mmtrt.stages import Clone, Download, Env, Stage


@dataclass(frozen=True, slots=True)
class RecipePins:
    """What a lock says of one recipe, ready for :func:`mmtrt.plan.build.make_plan`."""

    lock: Lock
    name: str
    """``recipe/variant``."""
    title: str
    """The lock file, as people know it."""

    @property
    def recipe(self) -> LockedRecipe:
        """What was locked of the recipe."""
        return self.lock.recipes[self.name]

    @property
    def backend(self) -> str | None:
        """See ``Pinning.backend``."""
        return self.recipe.backend

    def engines(self, backend: str) -> Sequence[str]:
        """See ``Pinning.engines``."""
        return self.recipe.engine.get(backend, ())

    def pinned(self, stage: Stage, toolchain: str) -> Stage:
        """See ``Pinning.pinned``; a name that the lock does not have stays as it is."""
        if not isinstance(stage, (Download, Clone, Env)):
            return stage
        row = self.lock.rows(table_of(stage)).get(name_of(stage, toolchain))
        if isinstance(row, LockedDownload) and isinstance(stage, Download):
            expect = tuple(f"{file.digest}={file.name}" for file in row.files)
            return replace(stage, revision=row.commit, expect=expect)
        if isinstance(row, LockedClone) and isinstance(stage, Clone):
            return replace(stage, revision=row.commit)
        if isinstance(row, LockedEnvironment) and isinstance(stage, Env):
            return replace(stage, pins=tuple(row.packages))
        return stage
