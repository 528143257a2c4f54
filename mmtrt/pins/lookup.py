"""Which entry of a lock is the one for a recipe at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mmtrt.artifacts.store import Store
from mmtrt.config.recipe import Recipe
from mmtrt.errors import MmtrtError
from mmtrt.host import HostInfo
from mmtrt.pins.apply import Pins
from mmtrt.pins.cases import distance, is_made_for
from mmtrt.pins.describe import describe, words_of
from mmtrt.pins.drift import Drift, drift_of
from mmtrt.pins.entry import Entry


@dataclass(frozen=True, slots=True)
class Found:
    """An entry, ready for a plan, and in what it does not describe the recipe."""

    pins: Pins
    drift: tuple[Drift, ...]


def find(
    entries: Sequence[Entry], recipe: Recipe, host: HostInfo, store: Store, title: str
) -> Found:
    """Return the entry that was made for a choice, else the one that describes it best.

    Args:
        entries: of this recipe and variant, one at least.
        recipe: the resolved recipe.
        host: the machine.
        store: whose memo of digests is used for the user's own model.
        title: the lock file, as people know it.

    Raises:
        PlanError: as :func:`mmtrt.plan.build.make_plan`, if no entry can be looked at.
    """
    words = words_of(recipe)
    own = own_entry(entries, words)
    if own is not None:
        return _held(own, recipe, host, store, title)
    best: Found | None = None
    refused: MmtrtError | None = None
    for entry in sorted(entries, key=lambda entry: distance(entry, words)):
        try:
            found = _held(entry, recipe, host, store, title)
        except MmtrtError as error:  # what auto means by it cannot be had for this choice
            refused = refused or error
            continue
        if best is None or len(found.drift) < len(best.drift):
            best = found
    if best is None:
        assert refused is not None
        raise refused
    return best


def own_entry(entries: Sequence[Entry], words: Sequence[str]) -> Entry | None:
    """Return the entry that was made for a choice; the only one is made for every choice."""
    if len(entries) == 1:
        return entries[0]
    return next((entry for entry in entries if is_made_for(entry, words)), None)


def _held(entry: Entry, recipe: Recipe, host: HostInfo, store: Store, title: str) -> Found:
    pins = Pins(entry, title)
    return Found(pins, tuple(drift_of(entry, describe(recipe, host, store, pins))))
