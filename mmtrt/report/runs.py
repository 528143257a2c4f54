"""The records of runs: directories ``<utc time>-<recipe>`` below ``paths.runs``."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from mmtrt.errors import UsageError

_NAME = re.compile(r"(?P<stamp>\d{8}T\d{6}Z)(?:-(?P<again>\d{1,2}))?-(?P<recipe>.+)")


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
            ``None`` or ``last`` is the newest of all.

    Raises:
        UsageError: CFG003 if there is none.
    """
    if name is not None and name != "last":
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
    if name is None or name == "last":
        return known[0]
    names = [path.name for path in known]
    for fits in (
        [path for path in known if path.name == name],
        [path for path in known if recipe_of(path.name) == name],
        [path for path in known if path.name.startswith(name)],
    ):
        if fits:
            return fits[0]
    near = difflib.get_close_matches(name, [*names, *map(recipe_of, names)], 1, 0.5)
    raise UsageError(
        f"no run is called {name!r}",
        code="CFG003",
        why=f"the newest are {', '.join(names[:5])}",
        fix=f"use {near[0] if near else names[0]}",
    )


def _age(path: Path) -> tuple[str, int, str]:
    found = _NAME.fullmatch(path.name)
    assert found is not None
    return found["stamp"], int(found["again"] or 0), path.name
