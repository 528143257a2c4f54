"""A long graph of trivial stages, run once: ``python -m benchmarks.chain STORE COUNT [SHAPE]``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mmtrt.artifacts.store import Store
from mmtrt.executor.loop import RunResult, execute
from mmtrt.rules.check import CheckedPlan
from tests.worlds import World, world

SCRIPT = 'echo x > "$1/out"'


def long_world(root: Path, count: int, shape: str = "chain", **executor: Any) -> World:
    """Return ``count`` stages, each reading the one before (``chain``) or none (``wide``)."""
    stages = []
    for i in range(count):
        needs = [f"s{i - 1}"] if i and shape == "chain" else []
        # The number makes every key its own, also where all outputs are alike.
        stages.append((f"s{i}", f"{SCRIPT} # {i}", needs))
    return world(root, *stages, **executor)


def run(root: Path, count: int, shape: str = "chain", **executor: Any) -> RunResult:
    """Plan and execute; look everything up in the store below ``root``."""
    checked = CheckedPlan(long_world(root, count, shape, **executor).plan(), ())
    return execute(checked, Store(root))


def main() -> int:
    """Run once and print how many stages were hits."""
    root, count, *shape = sys.argv[1:]
    result = run(Path(root), int(count), *shape)
    print(sum(stage.status == "hit" for stage in result.stages))
    return int(bool(result.failures))


if __name__ == "__main__":
    sys.exit(main())
