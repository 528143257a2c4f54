"""Which YAML files there are: the recipes, and the choices of each group.

Read without Hydra, so that ``mmtrt ls`` is quick and a broken file is an entry, not a crash.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from mmtrt.config.defaults_list import Walk
from mmtrt.config.names import listed, nearest
from mmtrt.config.root import choices, config_file, display, search_dirs
from mmtrt.config.yaml_file import names_below, read
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
    try:
        nodes = _top_nodes(path, dirs)
    except RecipeError as err:
        return CatalogueEntry(name=name, path=path, error=err.render())
    return CatalogueEntry(
        name=name,
        path=path,
        title=_text(nodes, "title"),
        summary=_text(nodes, "summary"),
        readme_section=_text(nodes, "readme_section"),
        workflow=_text(nodes, "workflow") or "engine",
        default_variant=_text(nodes, "default_variant"),
        variants=_names(nodes, "variants"),
        quants=_names(nodes, "quants"),
        sessions=_names(nodes, "sessions"),
        backends=_names(nodes, "backends"),
    )


Nodes = dict[str, list[yaml.Node]]
"""Top-level key -> its value in each file that has it, in the order of merging."""


def _top_nodes(path: Path, dirs: Sequence[Path]) -> Nodes:
    """Return a recipe's values, those of files that it builds on first.

    Nodes and not values: constructing all of a recipe takes as long as parsing it.
    """
    nodes = _nodes(path)
    if "defaults" not in nodes:
        return nodes
    walk = Walk(dirs, {})
    walk.visit(path, "recipe", "recipe")
    if walk.problems:
        raise walk.problems[0]
    merged: Nodes = {}
    for source in walk.sources:
        if source.package == "recipe":
            for key, values in _nodes(source.path).items():
                merged.setdefault(key, []).extend(values)
    return merged


def _nodes(path: Path) -> Nodes:
    document = read(path, is_strict=False)
    if not isinstance(document.root, yaml.MappingNode):
        raise RecipeError(
            f"{display(path)} must be a mapping",
            code="CFG105",
            at=document.at(document.root),
            fix="write key: value",
        )
    return {str(key.value): [value] for key, value in document.root.value}


def _text(nodes: Nodes, key: str) -> str:
    """Return a text as it was written, so that an unquoted 1.10 is told as such."""
    last = nodes.get(key, [None])[-1]
    is_text = isinstance(last, yaml.ScalarNode) and not last.tag.endswith(":null")
    return str(last.value) if last is not None and is_text else ""


def _names(nodes: Nodes, key: str) -> tuple[str, ...]:
    """Return the items of a list, or the keys of a mapping together with those built on."""
    values = nodes.get(key, [])
    if values and isinstance(values[-1], yaml.SequenceNode):
        items = values[-1].value
        return tuple(str(item.value) for item in items if isinstance(item, yaml.ScalarNode))
    return tuple(dict.fromkeys(name for value in values for name in names_below(value)))
