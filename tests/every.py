"""Every recipe, checkpoint and number format, with the files that some of them need."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.worlds import RECIPES


@cache
def recipe_data(name: str) -> dict[str, Any]:
    """Return a recipe's file as plain data."""
    data: dict[str, Any] = yaml.safe_load((RECIPES / f"recipe/{name}.yaml").read_text())
    return data


def recipe_names() -> list[str]:
    """Return the name of every recipe that ships."""
    return sorted(path.stem for path in (RECIPES / "recipe").glob("*.yaml"))


def choices(name: str) -> Iterator[tuple[str, str]]:
    """Yield (variant, quant) of everything that a recipe offers with TensorRT-LLM."""
    data = recipe_data(name)
    for variant, entry in data["variants"].items():
        if entry.get("backend") == "native":
            continue
        for quant, options in data["quants"].items():
            by_trtllm = "trtllm" in options.get("backends", ["trtllm"])
            if by_trtllm and variant in options.get("variants", [variant]):
                yield variant, quant


EVERY = [(name, variant, quant) for name in recipe_names() for variant, quant in choices(name)]
"""(recipe, variant, quant)"""


def needed(name: str, root: Path) -> dict[str, str]:
    """Return the keys by which a recipe gets its files, made in ``root``; for ``worlds.recipe``."""
    wanted = {
        "neva": {"model__path": "neva.nemo"},
        "video_neva": {
            "model__path": "nemotron.nemo",
            "model__projector": "projector.nemo",
            "run__video": "video.mp4",
        },
    }.get(name, {})
    for file in wanted.values():
        (root / file).write_bytes(b"stands for a file of the user's")
    return {key: str(root / file) for key, file in wanted.items()}
