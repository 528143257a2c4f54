"""Flag code that is fetched from a branch or tag and then run.

## What it checks
Sources of the recipe that are git repositories, without a 40-digit commit hash.

## Why it matters
A branch moves. Whoever may push to it decides what runs here the next time the store is empty, and
two machines may build from different code.

## Example
    mmtrt check recipe=vila

## Use instead
    mmtrt plan recipe=vila 'recipe.sources.code.revision="0123456789abcdef0123456789abcdef01234567"'

## Source
git documentation, "gitrevisions": only an object name is the same everywhere and for ever.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding
from mmtrt.stages import Clone


def check(plan: Plan) -> Iterator[Finding]:
    """Yield a warning for every source of code that may move."""
    recipe = plan.recipe
    for node in plan.active():
        stage, spec = node.stage, recipe.stages.get(node.id)
        # The toolchain's own scripts, which no recipe names, come at a version's tag.
        if not isinstance(stage, Clone) or spec is None:
            continue
        if re.fullmatch("[0-9a-f]{40}", stage.revision):
            continue
        key = ("recipe", "sources", spec.source, "revision")
        yield Finding(
            code="SEC102",
            severity="warning",
            message=f"code of {stage.url} is not pinned: revision {stage.revision} may move",
            at=recipe.where(key),
            why="later stages run it",
            fix=f"'{'.'.join(key)}=\"<40-digit commit hash>\"'",
        )
