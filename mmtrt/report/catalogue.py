"""What ``ls`` tells about recipes: read from their files, without Hydra, without sizing them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from mmtrt.config import typed
from mmtrt.config.catalogue import CatalogueEntry
from mmtrt.config.root import display, recipes_root
from mmtrt.config.yaml_file import loader

if TYPE_CHECKING:
    from mmtrt.config.schema import RecipeFile


def entry_error(entry: CatalogueEntry) -> str | None:
    """Return why a recipe cannot be used; mmtrt's own are checked by tests, not here."""
    if entry.error is not None or recipes_root() in entry.path.parents:
        return entry.error
    _, problems = read_file(entry.path)
    if not problems:
        return None
    lines = [f"{display(entry.path)} does not fit the schema of recipes"]
    lines += [f"  {typed.dotted(problem.path)} {problem.message}" for problem in problems]
    return "\n".join(lines)


def read_file(path: Path) -> tuple[RecipeFile | None, list[typed.Problem]]:
    """Return a recipe's file as the schema has it; nothing for one that builds on other files."""
    from mmtrt.config.schema import RecipeFile

    data = yaml.load(path.read_bytes(), Loader=loader())
    if not isinstance(data, dict) or "defaults" in data:
        return None, []
    return typed.read(RecipeFile, data, ("recipe",))


def entry_json(entry: CatalogueEntry, error: str | None) -> dict[str, Any]:
    """Return one recipe as ``mmtrt ls --json`` lists it."""
    return {
        "name": entry.name,
        "title": entry.title,
        "summary": entry.summary,
        "variants": list(entry.variants),
        "default_variant": entry.default_variant,
        "quants": list(entry.quants),
        "sessions": list(entry.sessions),
        "workflow": entry.workflow,
        "backends": list(entry.backends),
        "readme_section": entry.readme_section,
        "file": str(entry.path),
        "error": error,
    }
