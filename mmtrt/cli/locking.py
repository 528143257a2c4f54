"""Whether and how a command heeds a lock: ``--locked``, ``--unlocked``, ``--lock FILE``."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Iterable, Sequence
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
    from mmtrt.lock.apply import RecipePins
    from mmtrt.lock.drift import LockDrift
    from mmtrt.lock.tables import Lock

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
    def lock(self) -> Lock:
        """What the file says; it is read once, however many points a sweep has."""
        from mmtrt.lock.lock_file import LockFile

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


def pins_for(recipe: Recipe, host: HostInfo, store: Store, use: LockUse) -> RecipePins | None:
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
) -> tuple[RecipePins | None, LockDrift | None]:
    """Return the pins of a recipe, and what is wrong with them.

    Raises:
        LockStale: LCK103, if the lock cannot be understood.
    """
    if use.mode == "ignored" or (use.mode == "heeded" and not use.is_there):
        return None, None
    from mmtrt.lock.apply import RecipePins
    from mmtrt.lock.drift import drift_of, no_entry, stale
    from mmtrt.lock.needs import lasting, needs_of, recipe_name

    title, name = str(use.path), recipe_name(recipe)
    fix = lock_command(lasting(recipe.overrides), recipe.config_dirs, use.path)
    if name not in use.lock.recipes:
        return None, no_entry(title, name, use.is_there, fix)
    pins = RecipePins(use.lock, name, title)
    drift = drift_of(use.lock, needs_of(recipe, host, store, pins))
    return pins, stale(title, name, drift, fix) if drift else None


def record_lock(lock: Lock, names: Iterable[str], directory: Path) -> None:
    """Write what a lock says of some recipes into a record; failing at it is no failure."""
    from mmtrt.lock.lock_file import lock_text

    with contextlib.suppress(OSError):
        (directory / NAME).write_text(lock_text(lock.only(names)), encoding="utf-8")


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
