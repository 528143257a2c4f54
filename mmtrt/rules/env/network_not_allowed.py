"""Flag stages that need the network where it is forbidden, or fetch files by themselves.

## What it checks
The stages of the plan that need the network while ``HF_HUB_OFFLINE`` is set; otherwise, as a hint,
those whose tool is known to fetch files that no recipe names.

## Why it matters
A machine without network stops at them, minutes into the build. What the store already has is not
fetched again: only the first run is concerned.

## Example
    mmtrt check recipe=qwen2_vl

## Use instead
    mmtrt check recipe=qwen2_vl until=build_llm

## Source
huggingface_hub, "Environment variables"; TensorRT-LLM 1.2 ``build_multimodal_engine.py``,
``run.py`` and ``quantize.py``.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from mmtrt.plan.graph import Node, Plan
from mmtrt.rules.base import Finding, Severity
from mmtrt.stages import Quantize

YES = ("1", "ON", "YES", "TRUE")


def check(plan: Plan) -> Iterator[Finding]:
    """Yield one finding that lists the stages."""
    # The variable is this machine's; a plan for another one knows nothing of it.
    offline = plan.choice.host.lookup and os.environ.get("HF_HUB_OFFLINE", "").upper() in YES
    names = [n.id for n in plan.active() if _fetches(n) and (offline or n.stage.network)]
    if not names:
        return
    several = len(names) > 1
    severity: Severity = "warning" if offline else "info"
    need = "need the network" if several else "needs the network"
    why = "HF_HUB_OFFLINE is set; what the store has is not fetched again"
    if not offline:
        need = "fetch files by themselves" if several else "fetches files by itself"
        why = "on a machine without network the first run stops there"
    words = shlex.join(plan.recipe.overrides)
    yield Finding(
        code="ENV103",
        severity=severity,
        message=f"stage{'s' * several} {', '.join(names)} {need}",
        at=plan.recipe.where(("recipe", "stages", names[0])),
        why=why,
        fix=f"HF_HUB_OFFLINE=0 mmtrt run {words}   # once, where there is network",
    )


def _fetches(node: Node) -> bool:
    if node.command is None or not node.command.resources.network:
        return False
    data = node.stage.calib_dataset if isinstance(node.stage, Quantize) else None
    return data is None or not Path(data).is_dir()
