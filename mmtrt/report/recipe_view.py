"""What ``show`` tells about one recipe: its header, its graph, its limits, how to launch it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmtrt.config.recipe import Recipe
from mmtrt.config.root import display, recipes_root
from mmtrt.config.schema import StageSpec, Variant

_LAUNCH = re.compile(r"^(?:launch|try)\s+(\S.*)$")


def header(path: Path) -> list[str]:
    """Return the comment at the top of a recipe: what it makes, what it needs, how to launch it."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line[1:].removeprefix(" ").rstrip())
    while lines and not lines[-1]:
        lines.pop()
    return lines


def launch_lines(path: Path, name: str) -> list[str]:
    """Return the command lines that a recipe's header gives, or the plainest one.

    A recipe of the user's may be a copy whose header still tells of the original.
    """
    if recipes_root() not in path.parents:
        return [shlex.join(["mmtrt", "-cd", display(path.parent.parent), f"recipe={name}"])]
    comment = header(path)
    found = [match[1] for line in comment if (match := _LAUNCH.match(line))]
    return found or [f"mmtrt recipe={name}"]


@dataclass(frozen=True, slots=True)
class StageLine:
    """One stage of a recipe's graph."""

    id: str
    kind: str
    needs: Mapping[str, str]
    """Port -> stage, or ``stage/path`` for a place below its output."""
    depth: int
    """Stages that must come before it, on the longest way."""


def stage_lines(stages: Mapping[str, StageSpec]) -> list[StageLine]:
    """Return the stages in the file's order; a stage of a cycle or of nowhere has depth 0."""
    depths: dict[str, int] = {}

    def depth(name: str, above: tuple[str, ...]) -> int:
        if name not in stages or name in above:
            return -1
        if name not in depths:
            needs = [source.partition("/")[0] for source in stages[name].needs.values()]
            depths[name] = 1 + max((depth(n, (*above, name)) for n in needs), default=-1)
        return depths[name]

    return [
        StageLine(name, spec.kind, spec.needs, max(0, depth(name, ())))
        for name, spec in stages.items()
    ]


def variant_source(variant: Variant) -> str:
    """Return where a checkpoint comes from: ``repo@revision`` or a path."""
    if variant.repo_id:
        return f"{variant.repo_id}@{variant.revision or 'main'}"
    return variant.path or "model.path=DIR"


def recipe_json(recipe: Recipe, path: Path) -> dict[str, Any]:
    """Return what ``mmtrt show --json`` prints."""
    file = recipe.file
    return {
        "schema": 1,
        "name": file.name,
        "title": file.title,
        "summary": file.summary,
        "header": header(path),
        "readme_section": file.readme_section,
        "file": str(path),
        "workflow": recipe.workflow,
        "dtype": recipe.dtype,
        "backends": list(file.backends),
        "quants": list(file.quants),
        "sessions": list(file.sessions),
        "default_variant": file.default_variant,
        "variant": recipe.variant_name,
        "variants": [
            {
                "name": name,
                "repo_id": variant.repo_id,
                "revision": variant.revision,
                "path": variant.path,
                "license": variant.license,
                "backend": variant.backend,
                "dtype": variant.dtype or file.dtype,
            }
            for name, variant in file.variants.items()
        ],
        "stages": [
            {"id": line.id, "kind": line.kind, "needs": dict(line.needs)}
            for line in stage_lines(recipe.stages)
        ],
        "limits": {name: limit.to_json() for name, limit in recipe.sizing.limits.items()},
        "visual_features_per_request": recipe.sizing.features_per_request,
        "launch": launch_lines(path, path.stem),
    }
