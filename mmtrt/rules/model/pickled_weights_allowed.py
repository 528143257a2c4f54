"""Flag a download that may take weights which run code when loaded.

## What it checks
A download stage with ``allow_pickle: true``.

## Why it matters
``.bin``, ``.pt`` and ``.ckpt`` files are pickles: loading one runs whatever its author wrote.

## Example
    mmtrt check recipe=llava recipe.stages.download.allow_pickle=true

## Use instead
    mmtrt check recipe=llava

## Source
Python documentation of ``pickle``: "Only unpickle data you trust".
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding
from mmtrt.stages import Download


def check(plan: Plan) -> Iterator[Finding]:
    """Yield a warning for every download that takes pickles."""
    for node in plan.active():
        if isinstance(node.stage, Download) and node.stage.allow_pickle:
            yield Finding(
                code="SEC101",
                severity="warning",
                message="pickled weights are allowed: loading one runs its author's code",
                at=plan.recipe.where(("recipe", "stages", node.id, "allow_pickle")),
                why="take them only from an author you trust",
                fix=f"recipe.stages.{node.id}.allow_pickle=false",
            )
