"""``mmtrt plan -o FILE`` and ``mmtrt run --plan FILE``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmtrt.cli.arguments import Arguments
from mmtrt.cli.locking import lock_use
from mmtrt.cli.session import Session, plan_composed
from mmtrt.config.compose import compose
from mmtrt.errors import LockStale, MmtrtError, UsageError
from mmtrt.plan.assess import Assessment
from mmtrt.plan.saved import SavedPlan, changes, gone, moved, read_saved, saved_json, to_text

if TYPE_CHECKING:
    from mmtrt.lock.apply import RecipePins


def save(session: Session, assessment: Assessment, target: str) -> None:
    """Write a plan to a file, whole or not at all; ``-`` is standard output.

    Raises:
        UsageError: CFG003, for a place that is no file, or a plan that no file should keep.
        ArtifactError: ART15x, if it cannot be written.
    """
    pins = session.pins
    lock = None if pins is None else _lock_plain(pins)
    text = to_text(saved_json(assessment, session.data, lock))
    if target == "-":
        sys.stdout.write(text)
        return
    path = Path(target)
    if path.is_dir() or not path.parent.is_dir():
        why = "it is a directory" if path.is_dir() else f"there is no directory {path.parent}"
        raise UsageError(f"the plan cannot be written to {path}", code="CFG003", why=why)
    from mmtrt.artifacts.atomic import write_text

    write_text(path, text)
    print(f"Saved to {path}; run it with: mmtrt run --plan {path}", file=sys.stderr)


def open_saved(path: str, arguments: Arguments) -> tuple[Session, SavedPlan]:
    """Plan a saved plan anew and compare the two.

    Raises:
        UsageError: CFG002, for anything beside the plan that would change it; LCK106 or LCK107.
        LockStale: LCK108, with every difference; LCK102, if a lock is required and the plan was
            made without.
    """
    more = [*arguments.overrides, *arguments.words]
    more += [f"-cd {each}" for each in arguments.config_dirs]
    more += [name for name in ("--unlocked", "--lock") if name in arguments.flags]
    if more:
        raise UsageError(
            f"mmtrt run --plan takes nothing that changes the plan: {more[0]}",
            code="CFG002",
            why="a saved plan is carried out as it is",
            fix="mmtrt plan with it and -o FILE, then run that plan",
        )
    saved = read_saved(Path(path))
    if lock_use(arguments).mode == "required" and saved.lock is None:
        raise LockStale(
            f"{saved.title} was not made with a lock",
            code="LCK102",
            why="--locked or MMTRT_LOCKED asks for one",
            fix="mmtrt plan --locked -o FILE with the overrides of the plan",
        )
    session = _planned_anew(saved)
    assessment = session.assess()
    if rows := changes(saved, assessment, session.data):
        from mmtrt.lock.drift import aligned

        count = f"{len(rows)} difference{'s' * (len(rows) != 1)}"
        table = [(row.node, row.field, row.saved, row.present) for row in rows]
        raise LockStale(
            f"{saved.title} cannot be carried out as it was planned: {count}; nothing was started",
            code="LCK108",
            why="the saved plan and the same plan made now:\n"
            + aligned(("STAGE", "FIELD", "SAVED", "PRESENT"), table),
            fix=f"undo the changes, or plan again: {_again(saved)}",
        )
    if names := gone(saved, assessment):
        text = "in the store when the plan was saved, not now, so that they run"
        print(f"note: {text}: {', '.join(names)}", file=sys.stderr)
    return session, saved


def tell_moved(saved: SavedPlan, session: Session) -> None:
    """Say after a run which stages did not get the key that was planned."""
    if names := moved(saved, session.assess()):
        print(
            f"note: other keys than planned: {', '.join(names)}; what was gone from the store and "
            "was made again came out otherwise",
            file=sys.stderr,
        )


def _planned_anew(saved: SavedPlan) -> Session:
    """Compose the saved overrides again, with the pins of the plan and no other lock."""
    from mmtrt.lock.apply import RecipePins
    from mmtrt.lock.lock_file import lock_from

    pins = None
    if saved.lock is not None:
        lock = lock_from(saved.lock["entry"])
        pins = RecipePins(lock, next(iter(lock.recipes)), saved.lock["title"])
    try:
        composed = compose(saved.overrides, saved.config_dirs)
        return plan_composed(composed, saved.config_dirs, lock_use(UNLOCKED), pins)
    except MmtrtError as error:
        if (directory := saved.document["directory"]) != str(Path.cwd()):
            parts = (error.why, f"the plan was made in {directory}")
            error.why = "; ".join(part for part in parts if part)
        raise


def _lock_plain(pins: RecipePins) -> dict[str, Any]:
    from mmtrt.lock.lock_file import lock_plain

    return {"title": pins.title, "entry": lock_plain(pins.lock.only([pins.name]))}


UNLOCKED = Arguments(flags={"--unlocked": True})


def _again(saved: SavedPlan) -> str:
    import shlex

    dirs = [word for each in saved.config_dirs for word in ("-cd", os.path.relpath(each))]
    return shlex.join(["mmtrt", "plan", *saved.overrides, *dirs, "-o", saved.title])
