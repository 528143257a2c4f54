"""The ``plan`` part of an engine's ``config.json``, and whether a plan fits a machine.

Everything here is decided from the record: a plan is deserialised only where it can run, since
the package's own refusal names neither version nor GPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmtrt.native.component import CONFIG_FILE
from mmtrt.native.errors import NativeError
from mmtrt.native.json_file import read_json
from mmtrt.native.tensorrt_api import PLAN_ENGINES, PLAN_FILE, raise_all
from mmtrt.native.tensorrt_profile import Shapes


@dataclass(frozen=True, kw_only=True)
class PlanRecord:
    """What ``config.json`` says of a plan."""

    path: Path
    package: str
    version: str
    compute_capabilities: tuple[int, ...]
    inputs: Mapping[str, str]
    """Input -> data type, such as ``float32``."""
    outputs: Mapping[str, str]
    profile: Mapping[str, Shapes]
    sha256: str
    size_bytes: int


def read_record(directory: Path) -> PlanRecord:
    """Read the record of an engine directory.

    Raises:
        NativeError: ART211, if the directory holds no plan or its record is damaged.
    """
    document = read_json(
        directory / CONFIG_FILE,
        code="ART211",
        what="a plan's configuration",
        fix=f"give the directory of an engine built with --engine {' or '.join(PLAN_ENGINES)}",
    )
    plan = document.get("plan")
    if not isinstance(plan, dict):
        raise NativeError(
            f"{directory}: holds an engine of {document.get('engine')!r}, not a plan",
            code="ART211",
        )
    try:
        return PlanRecord(
            path=directory / PLAN_FILE,
            package=plan["package"],
            version=plan["version"],
            compute_capabilities=tuple(plan["compute_capabilities"]),
            inputs={spec["name"]: spec["dtype"] for spec in plan["inputs"]},
            outputs={spec["name"]: spec["dtype"] for spec in plan["outputs"]},
            profile={
                name: Shapes(*(tuple(shapes[place]) for place in ("min", "opt", "max")))
                for name, shapes in plan["profile"].items()
            },
            sha256=plan["sha256"],
            size_bytes=plan["size_bytes"],
        )
    except (KeyError, TypeError) as error:
        raise NativeError(
            f"{directory / CONFIG_FILE}: incomplete or damaged: {error!r}", code="ART211"
        ) from error


def check_fit(record: PlanRecord, *, package: str, version: str, sm: int) -> None:
    """Refuse a plan that this machine cannot run.

    Args:
        record: what the plan was built with.
        package: the package that would run it.
        version: that package's version.
        sm: compute capability of the GPU, such as 89.

    Raises:
        NativeError: ART212, with every field that differs.
    """
    raise_all(_misfits(record, package, version, sm))


def _misfits(record: PlanRecord, package: str, version: str, sm: int) -> Iterator[NativeError]:
    what = f"{record.path}: "
    if package != record.package:
        yield NativeError(
            f"{what}package is {record.package}, {package} is to run it", code="ART212"
        )
    if version != record.version:
        yield NativeError(
            f"{what}version is {record.version}, {package} {version} is installed",
            code="ART212",
            why="a plan runs on the version that built it",
            fix=f"build the engine again, or install {record.package} {record.version}",
        )
    if sm not in record.compute_capabilities:
        built_for = ", ".join(map(str, record.compute_capabilities))
        yield NativeError(
            f"{what}compute_capabilities is {built_for}, this GPU has {sm}",
            code="ART212",
            why="a plan holds code for the GPUs that it was built for, no other",
            fix=f"build the engine again with target.sm={sm}",
        )


def check_shapes(record: PlanRecord, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse a call outside of the profile, before the GPU is asked.

    Args:
        record: the plan's record.
        shapes: input -> shape of its tensor.

    Raises:
        NativeError: RUN221, with every input that is missing, unknown or out of range.
    """
    raise_all(_excesses(record, shapes))


def _excesses(record: PlanRecord, shapes: Mapping[str, Any]) -> Iterator[NativeError]:
    for name in sorted(record.inputs.keys() ^ shapes.keys()):
        fault = "is missing" if name in record.inputs else "is not an input of this plan"
        yield NativeError(f"{record.path}: {name} {fault}", code="RUN221")
    for name, shape in shapes.items():
        range_ = record.profile.get(name)
        if range_ is None:
            continue
        fits = len(shape) == len(range_.min) and all(
            low <= side <= high for low, side, high in zip(range_.min, shape, range_.max)
        )
        if not fits:
            yield NativeError(
                f"{record.path}: {name} has shape {list(shape)}, the plan takes "
                f"{list(range_.min)} to {list(range_.max)}",
                code="RUN221",
                fix="send a smaller request, or build the engine with larger limits",
            )
