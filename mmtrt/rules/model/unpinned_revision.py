"""Flag a download that names a branch or tag instead of a commit.

## What it checks
A hub download whose ``revision`` is not a 40-digit commit hash.

## Why it matters
A branch moves. The key holds the name, so the store would go on serving the old files, and two
machines may build different engines from the same recipe.

## Example
    mmtrt plan recipe=llava model.revision=main

## Use instead
    mmtrt plan recipe=llava 'model.revision="b234b804b114d9e37bb655e11cbbb5f5e971b7a9"'

## Source
huggingface_hub, "Download files from the Hub": revision may be a branch, a tag or a commit hash.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding
from mmtrt.stages import Download


def check(plan: Plan) -> Iterator[Finding]:
    """Yield a warning for every download that is not pinned."""
    for node in plan.active():
        stage = node.stage
        if not isinstance(stage, Download) or stage.repo_id is None:
            continue
        if re.fullmatch("[0-9a-f]{40}", stage.revision or ""):
            continue
        asked = plan.recipe.settings.model.revision is not None
        key = ("recipe", "variants", plan.recipe.variant_name, "revision")
        yield Finding(
            code="MDL101",
            severity="warning",
            message=f"{stage.repo_id} is not pinned: revision {stage.revision} may move",
            at=plan.recipe.where(("model", "revision") if asked else key),
            why="the store cannot tell when a branch or tag has other files",
            fix="'model.revision=\"<40-digit commit hash>\"'",
        )
