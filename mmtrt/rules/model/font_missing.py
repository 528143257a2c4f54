"""Flag a model that draws its question above the picture and has no font for it.

## What it checks
A native ``run`` or ``eval`` of a Pix2Struct model whose ``preprocessor_config.json`` (or
``processor_config.json``) says ``is_vqa``, as the published DePlot does: a ``.ttf`` file beside it.

## Why it matters
transformers fetches ``Arial.TTF`` of ``ybelkada/fonts`` at each question, which fails offline, and
no key would hold what it draws with. Here the font is a file of the model's directory.

## Example
    mmtrt check recipe=deplot backend=native

## Use instead
    mmtrt check recipe=deplot variant=tiny

## Source
transformers 5.23, ``image_processing_pil_pix2struct.render_text``.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding
from mmtrt.rules.local_model import json_object
from mmtrt.stages import Download, Eval, Run

WHY = "is_vqa is true: the question is drawn above the picture"


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error for each model without a font."""
    if not plan.is_native or plan.recipe.hf_model_type != "pix2struct":
        return
    if not any(isinstance(node.stage, Run | Eval) for node in plan.active()):
        return
    for node in plan.active():
        stage = node.stage
        if not isinstance(stage, Download) or stage.generate is not None:
            continue
        directory = None if stage.local_dir is None else Path(stage.local_dir)
        if directory is not None and (not _draws(directory) or _has_font(directory)):
            continue
        place = shlex.quote(str(directory)) if directory else "<directory of the model>"
        pull = "" if directory else f"   # then model.path={place}"
        yield Finding(
            code="MDL124",
            severity="error",
            message=f"{directory or stage.repo_id} has no font to draw the question in",
            at=plan.recipe.where(("model", "path")),
            why=WHY,
            fix=f"cp <a TrueType font> {place}/Arial.TTF{pull}",
        )


def _draws(directory: Path) -> bool:
    """Return whether a model's processor draws questions."""
    whole = json_object(directory / "processor_config.json") or {}
    images: Any = json_object(directory / "preprocessor_config.json") or whole.get(
        "image_processor"
    )
    return isinstance(images, dict) and images.get("is_vqa") is True


def _has_font(directory: Path) -> bool:
    try:
        return any(path.suffix.lower() == ".ttf" for path in directory.iterdir())
    except OSError:
        return True  # the download stage says what is wrong with the directory
