"""Flag a TensorRT-LLM whose flags mmtrt does not know.

## What it checks
Whether there is a flag table for ``trtllm.version``.

## Why it matters
Commands are written for the versions that have tables. Another version may refuse a flag, and that
is then found when its stage runs.

## Example
    mmtrt check recipe=llava backend=trtllm trtllm.version=0.16.0

## Use instead
    mmtrt check recipe=llava backend=trtllm trtllm.version=1.2.1

## Source
``mmtrt/backends/flag_tables``.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.backends.flags import is_known, known_versions
from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding


def check(plan: Plan) -> Iterator[Finding]:
    """Yield a warning if no command of the plan could be checked."""
    version = plan.recipe.settings.trtllm.version
    if plan.choice.backend.name != "trtllm" or is_known(version):
        return
    known = known_versions()
    yield Finding(
        code="ENG202",
        severity="warning",
        message=f"flags of TensorRT-LLM {version} are not known",
        at=plan.recipe.where(("trtllm", "version")),
        why=f"there are tables for {', '.join(known)}; commands are written for these",
        fix=f"trtllm.version={known[-1]}.1",
    )
