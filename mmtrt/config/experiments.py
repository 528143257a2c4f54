"""The catalogue of named sweeps: YAML files below ``experiment/``, read without Hydra."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from mmtrt.config.overrides import EXPERIMENT
from mmtrt.config.root import choices, config_file, search_dirs
from mmtrt.config.yaml_file import Document, find, read
from mmtrt.errors import RecipeError


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What the file of a named sweep says about it."""

    name: str
    """What ``experiment=`` takes."""
    summary: str = ""
    """The comment that it opens with."""
    launch: str = ""
    """The command line that its head states."""
    params: Mapping[str, str] = field(default_factory=dict)
    """Key -> choices of what it varies."""
    error: str | None = None
    """Why the file cannot be used, as messages show it."""

    def to_json(self) -> dict[str, Any]:
        """Return the shape that ``mmtrt ls experiments --json`` promises."""
        return {
            "name": self.name,
            "summary": self.summary,
            "launch": self.launch,
            "varies": dict(self.params),
            "error": self.error,
        }


def experiments(config_dirs: Iterable[str | os.PathLike[str]] = ()) -> list[Experiment]:
    """Return an entry for every named sweep, by name.

    Raises:
        RecipeError: CFG107, if one of ``config_dirs`` is no directory.
    """
    dirs = search_dirs(config_dirs)
    found = []
    for name in choices(EXPERIMENT, dirs):
        path = config_file(dirs, f"{EXPERIMENT}/{name}")
        assert path is not None  # it was listed
        try:
            found.append(_entry(name, read(path)))
        except RecipeError as error:
            found.append(Experiment(name=name, error=error.render()))
    return found


def _entry(name: str, document: Document) -> Experiment:
    head = _head(document.text)
    launch = next((line for line in head if line.startswith("launch ")), "")
    try:
        _, params = find(document.root, ("hydra", "sweeper", "params"))
    except KeyError:
        params = None
    varies = {}
    if isinstance(params, yaml.MappingNode):
        varies = {str(key.value): str(value.value) for key, value in params.value}
    return Experiment(
        name=name,
        summary=head[0].rstrip(".") if head else "",
        launch=launch.removeprefix("launch").strip(),
        params=varies,
    )


def _head(text: str) -> list[str]:
    """Return the lines of the comment that a file opens with, the package line left out."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        plain = line.lstrip("#").strip()
        if plain and not re.match(r"@package\b", plain):
            lines.append(plain)
    return lines
