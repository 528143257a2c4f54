"""What a model in a local directory says of itself: its ``config.json``, the names of its files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from mmtrt.config.hf_facts import LANGUAGE_PLACES
from mmtrt.plan.graph import Plan
from mmtrt.stages import Download


def local_downloads(plan: Plan) -> Iterator[tuple[Download, Path]]:
    """Yield the downloads that link a local directory, with the directory."""
    for node in plan.active():
        if isinstance(node.stage, Download) and node.stage.local_dir is not None:
            yield node.stage, Path(node.stage.local_dir)


def local_config(directory: Path) -> dict[str, Any] | None:
    """Return a model's ``config.json``; ``None`` where there is none that can be read."""
    return json_object(directory / "config.json")


def json_object(path: Path) -> dict[str, Any] | None:
    """Return a JSON object; ``None`` where there is none that can be read."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def language_models(plan: Plan) -> Iterator[tuple[dict[str, Any], str | None]]:
    """Yield the language model's part of each local model's ``config.json``, and its model type."""
    for _, directory in local_downloads(plan):
        if (config := local_config(directory)) is not None:
            yield language_model(config), config.get("model_type")


def language_model(config: dict[str, Any]) -> dict[str, Any]:
    """Return the language model's part of a ``config.json``; all of it where it has none."""
    inner = (value_at(config, ".".join(keys)) for keys in LANGUAGE_PLACES if keys)
    return next((part for part in inner if isinstance(part, dict)), config)


def value_at(config: dict[str, Any], key: str) -> Any:
    """Return the value of a dotted key, ``None`` where the path ends early."""
    found: Any = config
    for name in key.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def wanted_files(stage: Download, directory: Path) -> dict[str, Path]:
    """Return the files that a download takes of a directory, by name, hidden ones left aside."""
    found = {}
    for place, below, names in os.walk(directory):
        below[:] = [name for name in below if not name.startswith(".")]
        for name in names:
            path = Path(place, name)
            inner = path.relative_to(directory).as_posix()
            if wants(stage, inner):
                found[inner] = path
    return found


def wants(stage: Download, name: str) -> bool:
    """Return whether a download's patterns take a file of this name."""
    included = not stage.include or any(_fits(name, pattern) for pattern in stage.include)
    return included and not any(_fits(name, pattern) for pattern in stage.exclude)


def _fits(name: str, pattern: str) -> bool:
    return fnmatchcase(name, f"{pattern}*" if pattern.endswith("/") else pattern)
