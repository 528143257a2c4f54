"""Whether and how a command heeds a lock: ``--locked``, ``--unlocked``, ``--lock FILE``."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mmtrt.cli.arguments import Arguments
from mmtrt.errors import UsageError

if TYPE_CHECKING:
    from mmtrt.artifacts.store import Store
    from mmtrt.config.recipe import Recipe
    from mmtrt.host import HostInfo
    from mmtrt.pins.apply import Pins

SWITCHES = ("--locked", "--unlocked")
VALUED = ("--lock",)
NAME = "mmtrt.lock"
VARIABLE = "MMTRT_LOCKED"


@dataclass(frozen=True, slots=True)
class LockUse:
    """What a command does with a lock."""

    mode: Literal["required", "heeded", "ignored"] = "heeded"
    path: Path = Path(NAME)
    is_quiet: bool = False


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
    if use.mode == "ignored" or (use.mode == "heeded" and not use.path.exists()):
        return None
    from mmtrt.pins.apply import Pins
    from mmtrt.pins.describe import describe, name_of, recorded
    from mmtrt.pins.drift import drift_of, no_entry, stale
    from mmtrt.pins.lock_file import LockFile

    lock = LockFile(use.path)
    name = name_of(recipe)
    entry = lock.read().get(name)
    fix = lock_command(recorded(recipe.overrides), recipe.config_dirs, use.path)
    if entry is None:
        error = no_entry(lock.title, name, use.path.exists(), fix)
        if use.mode == "required":
            raise error
        _warn(use, f"note: {error.message}, so nothing of it is pinned; {fix}")
        return None
    pins = Pins(entry, lock.title)
    rows = drift_of(entry, describe(recipe, host, store, pins))
    if rows and use.mode == "required":
        raise stale(lock.title, name, rows, fix)
    if rows:
        fields = ", ".join(row.field for row in rows)
        _warn(
            use,
            f"warning[LCK101]: {lock.title} does not describe {name} any more: {fields}\n"
            "  why: pins that still fit are used, the rest is as it is here\n"
            f"  fix: {fix}",
        )
    return pins


def record_pins(recipe: Recipe, pins: Pins, directory: Path) -> None:
    """Write the pins of a run into its record; one that cannot be written is no failure."""
    from mmtrt.pins.describe import name_of
    from mmtrt.pins.lock_file import lock_text

    with contextlib.suppress(OSError):
        (directory / NAME).write_text(lock_text({name_of(recipe): pins.entry}), encoding="utf-8")


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


def _warn(use: LockUse, text: str) -> None:
    if not use.is_quiet:
        print(text, file=sys.stderr)
