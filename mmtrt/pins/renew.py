"""The entries of one recipe and variant, made anew for every choice that they serve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mmtrt.artifacts.store import Store
from mmtrt.config.recipe import Recipe
from mmtrt.host import HostInfo
from mmtrt.pins.cases import combined, distance, together
from mmtrt.pins.describe import words_of
from mmtrt.pins.drift import Drift, changes
from mmtrt.pins.entry import Entry
from mmtrt.pins.lookup import own_entry
from mmtrt.pins.resolve import Known, Resolved, Upgrade, entry_of


@dataclass(frozen=True, slots=True)
class Renewed:
    """What a lock is going to say of a recipe and variant."""

    name: str
    entries: tuple[Entry, ...]
    resolved: tuple[Resolved, ...] = ()
    """Each choice by itself."""

    @property
    def notes(self) -> list[str]:
        """What is to be said, once."""
        return list(dict.fromkeys(note for each in self.resolved for note in each.notes))


def renew(
    name: str,
    recipes: Sequence[Recipe],
    old: Sequence[Entry],
    host: HostInfo,
    store: Store,
    upgrade: Upgrade,
    tell: Callable[[str], None] = lambda text: None,
) -> Renewed:
    """Return the entries for some choices.

    What a name was locked to stays, whichever of the choices it was locked for; a name that is new
    is asked for once.

    Args:
        name: ``recipe/variant``.
        recipes: a recipe for each choice.
        old: the entries so far.
        host: the machine.
        store: see :func:`mmtrt.pins.resolve.entry_of`.
        upgrade: what is asked for anew.
        tell: called with a line before something is asked for, which may take a while.

    Raises:
        MmtrtError: as :func:`mmtrt.pins.resolve.entry_of`.
    """
    done: list[Resolved] = []
    for recipe in recipes:
        own = _own(old, recipe)
        others = [entry for entry in old if entry is not own]
        known = Known(own, others, [each.entry for each in done])
        done.append(entry_of(recipe, host, store, known, upgrade, tell))
    return Renewed(name, together(each.entry for each in done), tuple(done))


def _own(old: Sequence[Entry], recipe: Recipe) -> Entry | None:
    """Return the entry of a choice, else the nearest, one that tells what is left open if it is."""
    words, is_open = words_of(recipe), recipe.settings.backend.name == "auto"
    return own_entry(old, words) or min(
        old,
        key=lambda each: (is_open and not each.leaves_open("backend"), distance(each, words)),
        default=None,
    )


def merged(renewed: Renewed, seen: Sequence[Entry], present: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return renewed entries with those that another process has written meanwhile.

    Args:
        renewed: what is to be written.
        seen: the entries that it was made of.
        present: the entries as they are now.
    """
    known = {line for entry in (*seen, *renewed.entries) for line in entry.overrides}
    late = [
        replace(entry, overrides=lines)
        for entry in present
        if (lines := [line for line in entry.overrides if line not in known])
    ]
    return together([*renewed.entries, *late]) if late else renewed.entries


def compared(
    old: Sequence[Entry], new: Sequence[Entry]
) -> list[tuple[Entry | None, Entry | None, list[Drift]]]:
    """Return each entry with what it was before, and the fields in which the two differ.

    Entries belong together if they have a choice in common, if no pin of one contradicts the other,
    or if there is one of each.
    """
    left = list(old)
    rows: list[tuple[Entry | None, Entry | None, list[Drift]]] = []
    for entry in new:
        before = next((each for each in left if set(each.overrides) & set(entry.overrides)), None)
        before = before or next((each for each in left if combined(each, entry)), None)
        if before is None and len(old) == len(new) == 1:
            before = old[0]
        if before is not None:
            left.remove(before)
        rows.append((before, entry, [*_choices(before, entry), *changes(before, entry)]))
    return [*rows, *((gone, None, []) for gone in left)]


def _choices(old: Entry | None, new: Entry) -> list[Drift]:
    """Return the choices that an entry is made for now, or no longer."""
    before = new.overrides if old is None else old.overrides
    return [
        *(Drift("overrides", None, line) for line in new.overrides if line not in before),
        *(Drift("overrides", line, None) for line in before if line not in new.overrides),
    ]
