"""From a command line to a plan with its verdicts: what run, plan, check, size and why share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmtrt.artifacts.store import Store
from mmtrt.cli.arguments import Arguments, meant_recipe
from mmtrt.cli.locking import LockUse, lock_use, pins_for
from mmtrt.config.compose import Composed, compose
from mmtrt.config.recipe import Recipe, resolve
from mmtrt.errors import UsageError
from mmtrt.host import HostInfo, probe
from mmtrt.plan.assess import Assessment, assess
from mmtrt.plan.build import make_plan
from mmtrt.plan.graph import Plan

if TYPE_CHECKING:
    from mmtrt.lock.apply import RecipePins


@dataclass(frozen=True, slots=True)
class Session:
    """One recipe as the user typed it, planned for this host."""

    recipe: Recipe
    data: Mapping[str, Any]
    """The composed configuration as plain data, for the record."""
    host: HostInfo
    plan: Plan
    store: Store
    pins: RecipePins | None = None
    """Of the lock that the plan uses."""

    def assess(self) -> Assessment:
        """Look every stage up in the store."""
        return assess(self.plan, self.store)


def open_session(verb: str, arguments: Arguments) -> Session:
    """Compose, resolve and plan what the user typed.

    Raises:
        UsageError: CFG002 for words that are no overrides.
        RecipeError: for every mistake in recipe and overrides.
        LockStale: LCK101 to LCK103.
    """
    if arguments.words:
        raise UsageError(
            f"mmtrt {verb}: {arguments.words[0]!r} is no override",
            code="CFG002",
            why="overrides look like key=value",
            fix=f"mmtrt {verb} recipe={meant_recipe(arguments.words[0]) or '...'}",
        )
    # Limits come from the recipe and the model alone.
    lock = LockUse("ignored") if verb == "size" else lock_use(arguments)
    composed = compose(arguments.overrides, arguments.config_dirs)
    return plan_composed(composed, arguments.config_dirs, lock)


def plan_composed(
    composed: Composed,
    config_dirs: Sequence[Path] = (),
    lock: LockUse | None = None,
    pins: RecipePins | None = None,
) -> Session:
    """Resolve and plan a composed configuration.

    Args:
        composed: the configuration.
        config_dirs: the user's own directories.
        lock: what to do with a lock; as the environment says where ``None``.
        pins: what stands in place of moving names; no lock is looked at then.

    Raises:
        LockStale: LCK101 to LCK103.
        MmtrtError: for every mistake in recipe and overrides.
    """
    recipe = resolve(
        composed.settings, tuple(composed.overrides), composed.where, tuple(config_dirs)
    )
    host, store = probe(), Store(Path(composed.settings.paths.store))
    if pins is None:
        pins = pins_for(recipe, host, store, lock or lock_use())
    return Session(recipe, composed.data, host, make_plan(recipe, host, pins), store, pins)
