"""Flag a .nemo file whose vision tower is not the one that the recipe downloads.

## What it checks
``mm_cfg.vision_encoder.from_pretrained`` in the ``model_config.yaml`` of a local ``.nemo`` file,
against the repository that the vision build finds in its cache of the hub.

## Why it matters
``build_multimodal_engine.py`` takes only the connector from the file and the tower from the hub, by
that name. The build has no network: it fails after the language model was converted and built.

## Example
    mmtrt check recipe=neva model.path=/models/clip.nemo

## Use instead
    mmtrt check recipe=neva model.path=/models/siglip.nemo

## Source
TensorRT-LLM 1.2 ``multimodal_builder.py``, ``build_neva_engine`` and ``build_video_neva_engine``.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding
from mmtrt.rules.local_model import value_at
from mmtrt.stages import BuildVision, Download

CONFIG = "./model_config.yaml"
CONFIG_BYTES = 1 << 20
"""Of a larger file nothing is read (*chosen*; published ones have some 10 KB)."""


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error if the tower that is named will not be found."""
    recipe = plan.recipe
    for node in plan.active():
        if not isinstance(node.stage, BuildVision) or node.command is None:
            continue
        model = plan[node.feeds["model"]].stage if "model" in node.feeds else None
        hub = plan[node.feeds["hub"]].stage if "hub" in node.feeds else None
        file = model.local_file if isinstance(model, Download) else None
        named = None if file is None else tower(Path(file))
        if named is None or node.command.resources.network or Path(named).is_dir():
            continue
        found = hub.repo_id if isinstance(hub, Download) else None
        if found == named or hub is None:
            continue
        source = recipe.stages[hub.id].source
        yield Finding(
            code="ENV104",
            severity="error",
            message=f"the vision tower of {Path(str(file)).name} is {named}, "
            f"and stage {hub.id} fetches {found}",
            at=recipe.where(("recipe", "sources", source, "repo_id")),
            why="the vision build asks for it by that name, and has no network",
            fix=f"recipe.sources.{source}.repo_id={named} recipe.sources.{source}.revision=main",
        )


def tower(nemo: Path) -> str | None:
    """Return the vision tower that a ``.nemo`` file names; ``None`` where it cannot be told."""
    import yaml  # other plans do without

    try:
        with tarfile.open(nemo, "r:") as archive:  # a compressed one would be read to its end
            member = archive.getmember(CONFIG)
            stream = archive.extractfile(member) if member.size <= CONFIG_BYTES else None
            config: Any = yaml.safe_load(stream.read()) if stream is not None else None
    except (OSError, KeyError, tarfile.TarError, yaml.YAMLError, ValueError, RecursionError):
        return None
    key = "mm_cfg.vision_encoder.from_pretrained"
    found = value_at(config, key) if isinstance(config, dict) else None
    return found if isinstance(found, str) else None
