"""Flag a calibration set that the tool cannot read, or that the model cannot use.

## What it checks
``quant.calib_dataset`` (or the recipe's): a set that the tool knows, or a directory by its whole
path; one with pictures where the recipe says ``calibrates_on: pictures``, and only there. And
``quant.calib_size`` beyond what int4_awq uses. mmtrt's own engines take a directory or an asset
with ``labels.json``, ``.jsonl`` or ``.txt`` files.

## Why it matters
The tool looks at the set after it has loaded the model. A relative path never leads anywhere:
every stage runs in a directory of its own.

## Example
    mmtrt check recipe=mllama quant=fp8 quant.calib_dataset=cnn_dailymail

## Use instead
    mmtrt check recipe=mllama quant=fp8 quant.calib_dataset=scienceqa

## Source
TensorRT-LLM 1.2 ``quantize_by_modelopt.py``, ``get_calib_dataloader``.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from mmtrt.backends.native_quant import (
    CALIBRATED,
    CALIBRATION_SET,
    SAMPLES,
    calibration_dir,
)
from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding, Severity
from mmtrt.rules.tool_flags import is_trtllm
from mmtrt.stages import Quantize

DEFAULT = "cnn_dailymail"
PICTURES = ("scienceqa", "science_qa")
AWQ_SAMPLES = 32
"""More samples are cut to this many."""
UNCALIBRATED = ("none", "int8_wo", "int4_wo")


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error for a set that cannot be read or used, a warning for samples left out."""
    for node in plan.active():
        stage = node.stage
        if isinstance(stage, Quantize) and plan.is_native:
            yield from _own_set(plan, stage)
        if not isinstance(stage, Quantize) or not is_trtllm(plan) or stage.format in UNCALIBRATED:
            continue
        yield from _set(plan, stage.calib_dataset or DEFAULT)
        if stage.format.endswith("awq") and (stage.calib_size or 0) > AWQ_SAMPLES:
            yield _finding(
                plan,
                "calib_size",
                f"{stage.format} calibrates with {AWQ_SAMPLES} samples, not {stage.calib_size}",
                "quantize.py cuts the number by itself",
                f"{AWQ_SAMPLES}",
                "warning",
            )


def _own_set(plan: Plan, stage: Quantize) -> Iterator[Finding]:
    """Look at a directory of samples; one that is not there is refused while planning."""
    if stage.format not in CALIBRATED:
        return
    place = calibration_dir(plan.recipe, stage)
    if not place.is_dir() or not any(next(place.glob(name), None) for name in SAMPLES):
        why = f"native engines calibrate on a directory with {', '.join(SAMPLES)}"
        message = f"{stage.calib_dataset} holds no calibration samples"
        yield _finding(plan, "calib_dataset", message, why, CALIBRATION_SET)


def _set(plan: Plan, name: str) -> Iterator[Finding]:
    pictures = plan.recipe.file.calibrates_on == "pictures"
    usual = PICTURES[0] if pictures else DEFAULT
    shows = any(word in name.lower() for word in PICTURES)
    place = Path(name).expanduser()
    if not (shows or name == "pileval" or DEFAULT in name or place.is_dir()):
        why = f"it knows {DEFAULT}, pileval and {PICTURES[0]}, and directories"
        message = f"quantize.py has no calibration set {name!r}"
        yield _finding(plan, "calib_dataset", message, why, usual)
    elif place.is_dir() and not Path(name).is_absolute():
        why = "the stage runs in a directory of its own"
        message = f"the calibration set {name!r} is no whole path"
        better = shlex.quote(str(place.absolute()))
        yield _finding(plan, "calib_dataset", message, why, better)
    elif pictures and not shows:
        why = f"its processor needs pictures, and {name} has none"
        message = f"{plan.recipe.name} cannot be calibrated on {name}"
        yield _finding(plan, "calib_dataset", message, why, usual)
    elif shows and not pictures:
        why = "only a processor of pictures can read it"
        message = f"{plan.recipe.name} cannot be calibrated on {name}"
        yield _finding(plan, "calib_dataset", message, why, usual)


def _finding(
    plan: Plan, key: str, message: str, why: str, better: str, severity: Severity = "error"
) -> Finding:
    recipe = plan.recipe
    asked = getattr(recipe.settings.quant, key) is not None
    own = ("recipe", "quants", recipe.settings.quant.name, key)
    return Finding(
        code="QNT104",
        severity=severity,
        message=message,
        at=recipe.where(("quant", key) if asked else own),
        why=why,
        fix=f"quant.{key}={better}",
    )
