"""Turn a directory with an exported graph into an engine directory with a plan.

The last step of ``build_llm`` and ``build_vision`` with ``--engine tensorrt`` or ``tensorrt_rtx``;
the export before it is the same as for ONNX Runtime.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmtrt.native.component import CONFIG_FILE
from mmtrt.native.errors import NativeError
from mmtrt.native.flags import positive
from mmtrt.native.json_file import read_json, write_json
from mmtrt.native.onnx_export import MODEL_FILE
from mmtrt.native.tensorrt_api import PLAN_ENGINES, PLAN_FILE, TensorrtApi
from mmtrt.native.tensorrt_plan import build
from mmtrt.native.tensorrt_profile import graph_io, profile_of
from mmtrt.native.ties import Ties


@dataclass(frozen=True, kw_only=True)
class PlanTarget:
    """Where a plan will run, and what its build may reuse."""

    capabilities: Sequence[int] = ()
    """Compute capabilities, such as 89."""
    timing_cache: Path | None = None
    new_timing_cache: Path | None = None


def add_target(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a plan's target."""
    parser.add_argument(
        "--compute-capability",
        type=positive,
        nargs="+",
        default=[],
        metavar="SM",
        help="of the GPUs that a plan is for, such as 89",
    )
    for flag, text in (
        ("--timing-cache", "kernel timings of earlier builds (tensorrt)"),
        ("--new-timing-cache", "where they are written with those of this build (tensorrt)"),
    ):
        parser.add_argument(flag, type=Path, metavar="FILE", help=text)


def target_of(flags: argparse.Namespace) -> PlanTarget:
    """Return the target that the flags name, and check early that its package is there.

    Raises:
        NativeError: ENG211, if another engine format is aimed at a GPU.
        HostLacks: ENV202, if the package is not installed.
    """
    if flags.engine in PLAN_ENGINES:
        TensorrtApi(flags.engine)
    elif flags.compute_capability:
        raise NativeError(
            f"--compute-capability is for {' and '.join(PLAN_ENGINES)}, --engine is {flags.engine}",
            code="ENG211",
        )
    return PlanTarget(
        capabilities=flags.compute_capability,
        timing_cache=flags.timing_cache,
        new_timing_cache=flags.new_timing_cache,
    )


def lower(directory: Path, engine: str, target: PlanTarget) -> None:
    """Replace ``model.onnx`` by ``model.plan`` where the engine format is a plan's.

    ``config.json`` is written last: a directory without it holds no engine.

    Args:
        directory: holds ``model.onnx`` and ``config.json`` with ``limits`` and ``component``.
        engine: engine format; any other than a plan's leaves the directory as it is.
        target: what to build for.

    Raises:
        NativeError: ENG211 to ENG214, if the graph cannot be compiled for this target.
    """
    if engine not in PLAN_ENGINES:
        return
    api = TensorrtApi(engine)
    document = read_json(directory / CONFIG_FILE, code="ART203", what="the exported graph")
    (directory / CONFIG_FILE).unlink()
    graph = directory / MODEL_FILE
    inputs, _ = graph_io(graph)
    record = build(
        graph,
        directory / PLAN_FILE,
        api=api,
        profile=profile_of(document["component"], document["limits"], inputs),
        capabilities=target.capabilities,
        timing_cache=target.timing_cache,
        new_timing_cache=target.new_timing_cache,
    )
    for name in document["files"]:
        (directory / name).unlink()
    write_json(
        directory / CONFIG_FILE,
        {
            **document,
            "engine": engine,
            "files": [PLAN_FILE],
            "plan": record,
            "tied_to": Ties(
                engine=engine,
                package=engine,
                version=api.version,
                device="cuda",
                sm=tuple(record["compute_capabilities"]),
            ).to_json(),
            "versions": {**document["versions"], engine: api.version},
        },
    )
