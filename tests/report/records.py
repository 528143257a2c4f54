"""Records of real runs: small shell stages, the real loop, a real store."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mmtrt.artifacts.store import Store
from mmtrt.errors import MmtrtError
from mmtrt.plan.graph import Plan
from mmtrt.report.recorded import run_recorded
from mmtrt.report.runs import run_dirs
from mmtrt.rules.check import CheckedPlan
from tests.worlds import World, world

CHAIN = (
    ("download", "echo weights > $1/w; echo fetched; echo quickly >&2"),
    ("build_llm", "cp $2/w $1/engine; echo compiled", ["download"]),
)
"""Two stages; the second reads the first."""


def record(root: Path, w: World | None = None) -> Path:
    """Run a world as ``mmtrt run`` does, and return the directory of its record."""
    w = w or world(root / "store", *CHAIN)
    with contextlib.suppress(MmtrtError):
        run_recorded(CheckedPlan(_placed(w.plan(), root), ()), Store(root / "store"))
    return run_dirs(root / "runs")[0]


def broken(root: Path, *stages: Sequence) -> World:
    """Return a world whose third stage fails."""
    return world(
        root / "store",
        *CHAIN,
        ("run", "echo about to fail; echo 'no such device' >&2; exit 3", ["build_llm"]),
        *stages,
    )


def _placed(plan: Plan, root: Path) -> Plan:
    settings = plan.recipe.settings
    paths = replace(settings.paths, store=str(root / "store"), runs=str(root / "runs"))
    return replace(plan, recipe=replace(plan.recipe, settings=replace(settings, paths=paths)))


def has_begun(runs: Path, stage: str) -> bool:
    """Return whether the one run that is recorded, or about to be, has told that a stage began."""
    for path in runs.glob("*/events.jsonl"):
        # The last line may be half written.
        for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
            event = json.loads(line)
            if (event["type"], event.get("stage")) == ("stage_started", stage):
                return True
    return False
