"""Flag an evaluation that has no data set.

## What it checks
A directory in ``eval.dataset_dir`` that holds no data set. Of native engines: ``eval.task`` without
``eval.dataset_dir`` for a model that is not made by mmtrt, too.

## Why it matters
Native stages do not fetch data sets: a part of VQAv2 alone is tens of gigabytes. For models that
mmtrt makes, a data set of drawn shapes is made too. ``eval.py`` fetches one, but not where it is
given a directory.

## Example
    mmtrt check recipe=llava backend=native eval.task=lmms-lab/VQAv2

## Use instead
    mmtrt check recipe=llava variant=tiny eval.task=lmms-lab/VQAv2

## Source
``mmtrt.native.eval_data``; ``load_dataset`` of ``eval.py`` (TensorRT-LLM 1.2), which reads the same
files.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding
from mmtrt.stages import Eval

SAVED = "dataset_info.json"
READ = (".parquet",)
LOADED = (".parquet", ".json", ".jsonl", ".csv", ".arrow", ".zip", ".tar", ".py")
"""What ``datasets.load_dataset`` reads of a directory, for ``eval.py``."""


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error for each evaluation without data."""
    is_native = plan.is_native
    for node in plan.active():
        stage = node.stage
        if not isinstance(stage, Eval) or "dataset" in stage.needs:
            continue
        if stage.dataset_dir is None and not is_native:
            continue
        if stage.dataset_dir is None:
            message, why = "no data set to evaluate with", "native stages do not fetch one"
        elif not _has_data(Path(stage.dataset_dir), READ if is_native else LOADED):
            message = f"{stage.dataset_dir} holds no data set"
            why = f"there is no parquet file and no {SAVED}"
        else:
            continue
        yield Finding(
            code="EVL104",
            severity="error",
            message=message,
            at=plan.recipe.where(("eval", "dataset_dir")),
            why=why,
            fix=f"eval.dataset_dir=<directory with parquet files of {stage.task}>",
        )


def _has_data(directory: Path, suffixes: tuple[str, ...]) -> bool:
    saved = (directory / SAVED).is_file()
    return saved or any(path.suffix in suffixes for path in directory.rglob("*"))
