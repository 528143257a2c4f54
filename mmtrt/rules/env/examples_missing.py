"""Flag a directory of example scripts that does not hold them.

## What it checks
Whether ``trtllm.examples_dir`` has every script that the plan calls.

## Why it matters
The first stage that runs a script fails, after the download. A checkout of another version may
have moved or dropped scripts.

## Example
    mmtrt check recipe=llava backend=trtllm trtllm.examples_dir=/nowhere/examples

## Use instead
    mmtrt check recipe=llava backend=trtllm

## Source
TensorRT-LLM moved its example scripts below ``examples/models`` with version 0.19.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mmtrt.backends.base import Script
from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding


def check(plan: Plan) -> Iterator[Finding]:
    """Yield a warning that names the scripts which are not there."""
    recipe = plan.recipe
    given = recipe.settings.trtllm.examples_dir
    if given is None:
        return
    called = {
        word.path
        for node in plan.active()
        if node.command is not None
        for word in node.command.argv
        if isinstance(word, Script)
    }
    missing = sorted(path for path in called if not Path(given, path).is_file())
    if missing:
        yield Finding(
            code="ENV101",
            severity="warning",
            message=f"{given} lacks {missing[0]}"
            + (f" and {len(missing) - 1} more" if len(missing) > 1 else ""),
            at=recipe.where(("trtllm", "examples_dir")),
            why="on the machine that runs the plan they must be there",
            fix="trtllm.examples_dir=null   # the container's, or fetched at the version's tag",
        )
