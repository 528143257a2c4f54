"""The records of runs: directories ``<utc time>-<recipe>`` below ``paths.runs``."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from mmtrt.errors import UsageError

_NAME = re.compile(r"(?P<stamp>\d{8}T\d{6}Z)(?:-(?P<again>\d{1,2}))?-(?P<recipe>.+)")

_BACK = re.compile(r"(?P<name>.*)~(?P<back>\d{1,4})")


def recipe_of(name: str) -> str:
    """Return the recipe that a record's directory is named for; empty if it has another form."""
    found = _NAME.fullmatch(name)
    return found["recipe"] if found else ""


def run_dirs(root: Path) -> list[Path]:
    """Return the records below ``root``, newest first."""
    try:
        found = [path for path in root.iterdir() if _NAME.fullmatch(path.name) and path.is_dir()]
    except OSError:
        return []
    return sorted(found, key=_age, reverse=True)


def find_run(root: Path, name: str | None = None) -> Path:
    """Return one record.

    Args:
        root: the directory of the records.
        name: a path, a directory name or the beginning of one, or a recipe for its newest run;
            ``None``, ``last`` or ``latest`` is the newest of all, ``latest~1`` the one before, and
            ``llava~1`` the one before the newest of ``llava``.

    Raises:
        UsageError: CFG003 if there is none.
    """
    back = 0
    if name is not None and (found := _BACK.fullmatch(name)):
        name, back = found["name"] or "latest", int(found["back"])
    is_newest = name in (None, "last", "latest")
    if name is not None and not is_newest and not back:
        path = Path(name)
        if path.is_dir() and (path.parent == root or "/" in name or (path / "plan.json").exists()):
            return path
    known = run_dirs(root)
    if not known:
        raise UsageError(
            f"no run is recorded below {root}",
            code="CFG003",
            fix="mmtrt recipe=llava variant=tiny   # or paths.runs=DIR, if it lies elsewhere",
        )
    if name is None or is_newest:
        return _before(known, back)
    names = [path.name for path in known]
    for fits in (
        [path for path in known if path.name == name],
        [path for path in known if recipe_of(path.name) == name],
        [path for path in known if path.name.startswith(name)],
    ):
        if fits:
            return _before(fits, back, f" named {name}")
    near = difflib.get_close_matches(name, [*names, *map(recipe_of, names)], 1, 0.5)
    raise UsageError(
        f"no run is called {name!r}",
        code="CFG003",
        why=f"the newest are {', '.join(names[:5])}",
        fix=f"use {near[0] if near else names[0]}",
    )


def _before(found: list[Path], back: int, of: str = "") -> Path:
    """Return the run that is ``back`` older than the newest."""
    if back < len(found):
        return found[back]
    count = f"are only {len(found)} runs" if len(found) > 1 else "is only one run"
    raise UsageError(
        f"there {count}{of}",
        code="CFG003",
        why=f"~{back} is the one {back} before the newest",
        fix=f"the oldest is {found[-1].name}",
    )


def _age(path: Path) -> tuple[str, int, str]:
    found = _NAME.fullmatch(path.name)
    assert found is not None
    return found["stamp"], int(found["again"] or 0), path.name
