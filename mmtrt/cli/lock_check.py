"""``mmtrt lock --check``: does the lock describe its recipes and this host; nothing is written."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mmtrt.cli.arguments import MULTIRUN, Arguments
from mmtrt.cli.locking import lock_command
from mmtrt.errors import LockStale, RecipeError

if TYPE_CHECKING:
    from mmtrt.config.recipe import Recipe
    from mmtrt.pins.drift import Drift
    from mmtrt.pins.lock_file import Entries, LockFile
    from mmtrt.pins.renew import Renewed


@dataclass(frozen=True, slots=True)
class Checked:
    """One choice, held against the lock."""

    name: str
    """``recipe/variant``."""
    choice: str
    """The overrides, as one would type them."""
    drift: tuple[Drift, ...]
    is_gone: bool = False
    """Whether no recipe has it any more."""


def check(
    lock: LockFile,
    entries: Entries,
    points: Sequence[Sequence[str]],
    compose: Callable[[Sequence[str]], Recipe],
    arguments: Arguments,
) -> int:
    """Print where the lock does not describe the points; without any, all that it was made for.

    Raises:
        LockStale: LCK102, if there is no entry.
        RecipeError: for every mistake in a point.
    """
    from mmtrt.pins.describe import name_of

    if points:
        recipes = [compose(words) for words in points]
        if missing := [recipe for recipe in recipes if name_of(recipe) not in entries]:
            raise _missing(lock, missing, arguments)
        return _report(lock, _of_points(lock, entries, recipes), arguments)
    if not entries:
        raise nothing_locked(lock)
    return _report(lock, _of_entries(lock, entries, compose), arguments)


def nothing_locked(lock: LockFile) -> LockStale:
    """Return the error of a lock without entries where nobody says for what to make one."""
    return LockStale(
        f"{lock.title} has no entries" if lock.path.exists() else f"there is no {lock.title}",
        code="LCK102",
        fix="mmtrt lock recipe=<name> variant=<name>; mmtrt ls lists them",
    )


def report_upgrade(
    lock: LockFile, entries: Entries, renewed: Sequence[Renewed], arguments: Arguments
) -> int:
    """Print what ``--upgrade`` would change; nothing is written."""
    from mmtrt.pins.renew import compared

    found = [
        Checked(each.name, (new or old).overrides[0], tuple(rows))  # type: ignore[union-attr] # one is there
        for each in renewed
        for old, new, rows in compared(entries.get(each.name, ()), each.entries)
    ]
    return _report(lock, found, arguments, "UPGRADED")


def _missing(lock: LockFile, recipes: Sequence[Recipe], arguments: Arguments) -> LockStale:
    from mmtrt.pins.describe import name_of
    from mmtrt.pins.drift import no_file

    names = ", ".join(dict.fromkeys(map(name_of, recipes)))
    return LockStale(
        f"{lock.title} has no entry for {names}" if lock.path.exists() else no_file(lock.title),
        code="LCK102",
        fix=lock_command(_typed(arguments), arguments.config_dirs, lock.path),
    )


def _of_points(lock: LockFile, entries: Entries, recipes: Sequence[Recipe]) -> list[Checked]:
    from mmtrt.artifacts.store import Store
    from mmtrt.host import probe
    from mmtrt.pins.cases import line_of
    from mmtrt.pins.describe import name_of, words_of
    from mmtrt.pins.lookup import find

    host, done = probe(), []
    for recipe in recipes:
        name, store = name_of(recipe), Store(Path(recipe.settings.paths.store))
        found = find(entries[name], recipe, host, store, lock.title)
        done.append(Checked(name, line_of(words_of(recipe)), found.drift))
    return done


def _of_entries(
    lock: LockFile, entries: Entries, compose: Callable[[Sequence[str]], Recipe]
) -> list[Checked]:
    from mmtrt.artifacts.store import Store
    from mmtrt.host import probe
    from mmtrt.pins.apply import Pins
    from mmtrt.pins.describe import describe
    from mmtrt.pins.drift import Drift, drift_of

    host, done = probe(), []
    for name, cases in entries.items():
        for entry in cases:
            for line, words in zip(entry.overrides, entry.choices()):
                try:
                    recipe = compose(words)
                except RecipeError as error:
                    gone = Drift("overrides", line, None)
                    print(f"note: {name} ({line}): {error.message}", file=sys.stderr)
                    done.append(Checked(name, line, (gone,), is_gone=True))
                    continue
                store = Store(Path(recipe.settings.paths.store))
                needs = describe(recipe, host, store, Pins(entry, lock.title))
                done.append(Checked(name, line, tuple(drift_of(entry, needs))))
    return done


def _report(
    lock: LockFile, found: Sequence[Checked], arguments: Arguments, present: str = "PRESENT"
) -> int:
    """Print what is stale, equal tables once; exit 4 if anything is."""
    from mmtrt.pins.drift import counted, table

    by_name: dict[str, dict[tuple[Drift, ...], list[str]]] = {}
    for each in found:
        by_name.setdefault(each.name, {}).setdefault(each.drift, []).append(each.choice)
    stale = {name: groups for name, groups in by_name.items() if any(groups)}
    if arguments.on("--json"):
        rows = [
            {"name": name, "overrides": choices, "drift": [row.to_json() for row in drift]}
            for name, groups in by_name.items()
            for drift, choices in groups.items()
        ]
        document = {"schema": 1, "file": str(lock.path), "is_stale": bool(stale), "entries": rows}
        print(json.dumps(document, indent=1, ensure_ascii=False))
    else:
        for name, groups in stale.items():
            for drift, choices in groups.items():
                if drift:
                    which = "" if len(groups) == 1 else f" ({_some(choices)})"
                    print(f"{name}{which} differs from {lock.title}:")
                    print(table(drift, ("LOCKED", present)))
    entries = f"entr{'ies' if len(by_name) != 1 else 'y'}"
    if not stale:
        points = f" for {counted(len(found), 'choice')}" if len(found) > len(by_name) else ""
        print(
            f"{lock.title} is up to date: {len(by_name)} {entries} checked{points}", file=sys.stderr
        )
        return 0
    words = [*_typed(arguments), *(["--upgrade"] if arguments.on("--upgrade") else [])]
    is_gone = any(each.is_gone for each in found)
    words += ["--prune"] if is_gone else []
    fix = lock_command([*words, *arguments.words], arguments.config_dirs, lock.path)
    error = LockStale(
        f"{lock.title} is stale: {len(stale)} of {len(by_name)} {entries}",
        code="LCK101",
        fix=f"-cd DIR, if what is gone is of your own; else {fix}" if is_gone else fix,
    )
    print(error.render(), file=sys.stderr)
    return error.exit_code


def _typed(arguments: Arguments) -> list[str]:
    """Return the overrides with the switch of a sweep, if that is what they are."""
    return [*(["-m"] if any(map(arguments.on, MULTIRUN)) else []), *arguments.overrides]


def _some(choices: Sequence[str]) -> str:
    return "; ".join(choices[:3]) + (f"; {len(choices) - 3} more" if len(choices) > 3 else "")
