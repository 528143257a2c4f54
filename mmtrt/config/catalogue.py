"""Which YAML files there are: the recipes, and the choices of each group.

Read without Hydra, so that ``mmtrt ls`` is quick and a broken file is an entry, not a crash.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmtrt.config.defaults_list import Walk
from mmtrt.config.names import listed, nearest
from mmtrt.config.root import choices, config_file, display, search_dirs
from mmtrt.errors import RecipeError


@dataclass(frozen=True, kw_only=True)
class CatalogueEntry:
    """What a recipe's own file says about it."""

    name: str
    """What ``recipe=`` takes: the name of the file."""
    path: Path
    title: str = ""
    summary: str = ""
    readme_section: str = ""
    workflow: str = "engine"
    default_variant: str = ""
    variants: tuple[str, ...] = ()
    quants: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    error: str | None = None
    """Why the file cannot be used, as messages show it."""


def recipes(config_dirs: Iterable[str | os.PathLike[str]] = ()) -> list[CatalogueEntry]:
    """Return an entry for every recipe, by name; a broken file's entry tells its error.

    Raises:
        RecipeError: CFG107, if one of ``config_dirs`` is no directory.
    """
    dirs = search_dirs(config_dirs)
    return [recipe_entry(name, dirs) for name in choices("recipe", dirs)]


def recipe_path(name: str, config_dirs: Iterable[str | os.PathLike[str]] = ()) -> Path:
    """Return the file of a recipe.

    Raises:
        RecipeError: CFG106, if there is none of that name.
    """
    dirs = search_dirs(config_dirs)
    path = config_file(dirs, f"recipe/{name}") if name else None
    if path is None:
        known = choices("recipe", dirs)
        near = nearest(name, known, 1)
        raise RecipeError(
            f"there is no recipe {name!r}",
            code="CFG106",
            why=listed("the recipes are", known),
            fix=near[0] if near else "use one of these",
        )
    return path


def recipe_entry(name: str, dirs: Sequence[Path]) -> CatalogueEntry:
    """Return the entry of one recipe; ``dirs`` are all directories, mmtrt's own first."""
    path = config_file(dirs, f"recipe/{name}")
    if path is None:
        return CatalogueEntry(
            name=name, path=dirs[0] / "recipe" / f"{name}.yaml", error="is not a file"
        )
    walk = Walk(dirs)
    walk.visit(path, "recipe", "recipe")
    try:
        if walk.problems:
            raise walk.problems[0]
        data = walk.merged().get("recipe")
        if not data:
            raise RecipeError(f"{display(path)} is empty", code="CFG105", at=display(path))
    except RecipeError as err:
        return CatalogueEntry(name=name, path=path, error=err.render())
    known: dict[str, Any] = {}
    for key in ("title", "summary", "readme_section", "workflow", "default_variant"):
        if data.get(key) is not None:
            known[key] = str(data[key])
    for key in ("variants", "quants", "sessions", "backends"):
        if isinstance(data.get(key), (list, dict)):
            known[key] = tuple(map(str, data[key]))
    return CatalogueEntry(name=name, path=path, **known)
