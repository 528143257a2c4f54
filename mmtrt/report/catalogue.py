"""What ``ls`` tells about recipes: composed, not sized."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from mmtrt.config.catalogue import CatalogueEntry
from mmtrt.config.compose import compose
from mmtrt.config.root import recipes_root
from mmtrt.errors import RecipeError


def entry_error(
    entry: CatalogueEntry, config_dirs: Iterable[str | os.PathLike[str]] = ()
) -> str | None:
    """Return why a recipe cannot be used; mmtrt's own are checked by tests, not here."""
    if entry.error is not None or recipes_root() in entry.path.parents:
        return entry.error
    try:
        compose([f"recipe={entry.name}"], config_dirs)
    except RecipeError as error:
        return error.render()
    return None


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
