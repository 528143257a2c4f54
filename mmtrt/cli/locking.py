"""Whether and how a command heeds a lock: ``--locked``, ``--unlocked``, ``--lock FILE``."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mmtrt.cli.arguments import Arguments
from mmtrt.errors import UsageError

if TYPE_CHECKING:
    from mmtrt.artifacts.store import Store
    from mmtrt.config.recipe import Recipe
    from mmtrt.host import HostInfo
    from mmtrt.pins.apply import Pins
    from mmtrt.pins.drift import LockDrift
    from mmtrt.pins.entry import Entry
    from mmtrt.pins.lock_file import Entries

SWITCHES = ("--locked", "--unlocked")
VALUED = ("--lock",)
NAME = "mmtrt.lock"
VARIABLE = "MMTRT_LOCKED"


@dataclass(frozen=True)
class LockUse:
    """What a command does with a lock."""

    mode: Literal["required", "heeded", "ignored"] = "heeded"
    path: Path = Path(NAME)
    is_quiet: bool = False

    @cached_property
    def is_there(self) -> bool:
        """Whether there is such a file."""
        return self.path.exists()

    @cached_property
    def entries(self) -> Entries:
        """What the file says; it is read once, however many points a sweep has."""
        from mmtrt.pins.lock_file import LockFile

        return LockFile(self.path).read()


def lock_use(arguments: Arguments | None = None) -> LockUse:
    """Return what the command line says, else the environment.

    Raises:
        UsageError: CFG002, if the switches contradict each other; CFG003, for another value of
            MMTRT_LOCKED than 0 and 1.
    """
    given = arguments or Arguments()
    path = Path(given.text("--lock") or NAME)
    quiet = given.on("-q") or given.on("--quiet")
    if given.on("--locked") and given.on("--unlocked"):
        raise UsageError("--locked and --unlocked contradict each other", code="CFG002")
    if given.on("--unlocked"):
        return LockUse("ignored", path, quiet)
    said = os.environ.get(VARIABLE, "")
    if said not in ("", "0", "1"):
        raise UsageError(
            f"{VARIABLE}={said} is neither 0 nor 1", code="CFG003", fix=f"{VARIABLE}=1, or unset it"
        )
    return LockUse("required" if given.on("--locked") or said == "1" else "heeded", path, quiet)


def pins_for(recipe: Recipe, host: HostInfo, store: Store, use: LockUse) -> Pins | None:
    """Return the pins of a recipe; ``None`` where no lock speaks of it and none has to.

    Raises:
        LockStale: LCK101 or LCK102, if a lock is required and does not describe the recipe; LCK103,
            if it cannot be understood.
    """
    pins, problem = looked_up(recipe, host, store, use)
    if problem is None:
        return pins
    if use.mode == "required":
        raise problem
    if use.is_quiet:
        return pins
    if problem.drift is None:
        text = f"note: {problem.message}, so nothing of it is pinned; {problem.fix}"
    else:
        fields = ", ".join(row.field for row in problem.drift)
        text = (
            f"warning[LCK101]: {use.path} does not describe {problem.name} any more: {fields}\n"
            f"  why: {STILL}\n"
            f"  fix: {problem.fix}"
        )
    print(text, file=sys.stderr)
    return pins


STILL = "pins that still fit are used, the rest is as it is here"


def looked_up(
    recipe: Recipe, host: HostInfo, store: Store, use: LockUse
) -> tuple[Pins | None, LockDrift | None]:
    """Return the pins of a recipe, and what is wrong with them.

    Raises:
        LockStale: LCK103, if the lock cannot be understood.
    """
    if use.mode == "ignored" or (use.mode == "heeded" and not use.is_there):
        return None, None
    from mmtrt.pins.describe import name_of, recorded
    from mmtrt.pins.drift import no_entry, stale
    from mmtrt.pins.lookup import find

    title, name = str(use.path), name_of(recipe)
    fix = lock_command(recorded(recipe.overrides), recipe.config_dirs, use.path)
    if not (entries := use.entries.get(name)):
        return None, no_entry(title, name, use.is_there, fix)
    found = find(entries, recipe, host, store, title)
    return found.pins, stale(title, name, found.drift, fix) if found.drift else None


def record_pins(recipe: Recipe, pins: Pins, directory: Path) -> None:
    """Write the pins of a run into its record."""
    from mmtrt.pins.describe import name_of

    record_entries({name_of(recipe): [pins.entry]}, directory)


def record_entries(entries: Mapping[str, Sequence[Entry]], directory: Path) -> None:
    """Write entries into a record; one that cannot be written is no failure."""
    from mmtrt.pins.lock_text import lock_text

    with contextlib.suppress(OSError):
        (directory / NAME).write_text(lock_text(entries), encoding="utf-8")


def lock_command(
    overrides: Sequence[str], config_dirs: Sequence[Path], path: Path = Path(NAME)
) -> str:
    """Return the command line that makes or renews an entry."""
    words = ["mmtrt", "lock", *overrides]
    for directory in config_dirs:
        words += ["-cd", str(directory)]
    if path != Path(NAME):
        words += ["-o", str(path)]
    return shlex.join(words)
