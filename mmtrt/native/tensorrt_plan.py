"""From an ONNX file to a plan: parse, aim, compile; and the record of what came out.

A plan is strongly typed: every operation computes in the type that the graph gives it. It serves
one package version and the compute capabilities that it names, nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmtrt.native.digests import file_digest
from mmtrt.native.errors import NativeError
from mmtrt.native.progress import mebibytes, say
from mmtrt.native.tensorrt_api import HostLacks, TensorrtApi, raise_all
from mmtrt.native.tensorrt_profile import Profile, check_profile, graph_io

# *Measured* with TensorRT-RTX 1.7.1, whose compiler says so of every float32 matrix product
# ("Cannot compile operation ... for Turing (SM75): FP32 GEMM is not supported").
_NO_FLOAT32 = 75


def build(
    onnx_path: Path,
    plan_path: Path,
    *,
    api: TensorrtApi,
    profile: Profile,
    capabilities: Sequence[int],
    timing_cache: Path | None = None,
    new_timing_cache: Path | None = None,
) -> dict[str, Any]:
    """Compile an ONNX file and write the plan.

    Args:
        onnx_path: the graph; external weights are looked for beside it.
        plan_path: where the plan is written; nothing is written if the build fails.
        api: the package.
        profile: shapes of every input whose sides may change.
        capabilities: compute capabilities that the plan is for, such as 89. TensorRT builds for
            the GPU in use; the one that is named must be that one.
        timing_cache: kernel timings of earlier builds; need not exist.
        new_timing_cache: where they are written together with those of this build.

    Returns:
        The record that :mod:`mmtrt.native.tensorrt_record` reads: ``package``, ``version``,
        ``compute_capabilities``, ``inputs``, ``outputs``, ``profile``, ``strongly_typed``,
        ``tf32``, ``sha256``, ``size_bytes``, ``onnx_blake3``.

    Raises:
        HostLacks: HST202, if the package needs a GPU to build and there is none.
        NativeError: ENG211 to ENG214, if a capability, the graph, the profile or the compilation
            is refused.
    """
    targets = tuple(sorted(set(capabilities)))
    _check_capabilities(api, targets)
    inputs, outputs = graph_io(onnx_path)
    check_profile(profile, inputs)
    builder, network = api.builder()
    _parse(api, network, onnx_path)
    config = builder.create_builder_config()
    shapes = builder.create_optimization_profile()
    for name, range_ in profile.items():
        shapes.set_shape(name, range_.min, range_.opt, range_.max)
    config.add_optimization_profile(shapes)
    api.aim(config, targets)
    api.load_timing_cache(config, timing_cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise NativeError(
            f"{api.package.module} {api.version} cannot compile {onnx_path.name}",
            code="ENG214",
            why=api.errors(),
        )
    api.save_timing_cache(config, new_timing_cache)
    view = memoryview(plan)
    plan_path.write_bytes(view)
    for_ = ", ".join(map(str, targets))
    say(f"compiled {onnx_path.name} for compute capability {for_}: {mebibytes(view.nbytes)}")
    return {
        "package": api.package.module,
        "version": api.version,
        "compute_capabilities": list(targets),
        "inputs": [asdict(spec) for spec in inputs],
        "outputs": [asdict(spec) for spec in outputs],
        "profile": {name: range_.to_json() for name, range_ in profile.items()},
        "strongly_typed": True,
        "tf32": bool(config.get_flag(api.trt.BuilderFlag.TF32)),
        "sha256": hashlib.sha256(view).hexdigest(),
        "size_bytes": view.nbytes,
        "onnx_blake3": file_digest(onnx_path),
    }


def _check_capabilities(api: TensorrtApi, targets: tuple[int, ...]) -> None:
    """Refuse GPUs that the package cannot build for.

    Raises:
        HostLacks: HST202, of TensorRT on a machine without a GPU.
        NativeError: ENG211.
    """
    who = f"{api.package.module} {api.version}"
    if not targets:
        raise NativeError(
            "no compute capability is named",
            code="ENG211",
            why="a plan serves the GPUs that it was built for, no other",
            fix="name the target, such as --compute-capability 89",
        )
    known = api.capabilities()
    if known is None:
        visible = api.visible_sm()
        if visible is None:
            raise HostLacks(
                "torch sees no GPU here",
                code="HST202",
                why=f"{who} times its kernels on the GPU that it builds for",
                fix="build on a machine with that GPU, or use engine=tensorrt_rtx",
            )
        if targets != (visible,):
            raise NativeError(
                f"{who} builds for the GPU in use, compute capability {visible}, "
                f"not for {', '.join(map(str, targets))}",
                code="ENG211",
                fix=f"--compute-capability {visible}",
            )
        return
    usable = [sm for sm in known if sm != _NO_FLOAT32]
    raise_all(
        NativeError(
            f"{who} cannot build for compute capability {sm}",
            code="ENG211",
            why=f"of Turing ({sm}) it refuses float32 matrix products, which these graphs hold"
            if sm == _NO_FLOAT32
            else f"it builds for {', '.join(map(str, usable))}",
            fix="build for one of " + ", ".join(map(str, usable)),
        )
        for sm in targets
        if sm not in usable
    )


def _parse(api: TensorrtApi, network: Any, onnx_path: Path) -> None:
    """Fill the network.

    Raises:
        NativeError: ENG212, one for every node that the package refuses.
    """
    parser = api.trt.OnnxParser(network, api.log)
    if parser.parse_from_file(str(onnx_path)):
        return
    refused = [*_refusals(api, parser, onnx_path)]
    # Parsing stops at the first node. This goes on to the others, without building anything;
    # it takes bytes, so files of 2 GiB and more stay with the first.
    _, other = api.builder()
    survey = api.trt.OnnxParser(other, api.log)
    survey.supports_model_v2(onnx_path.read_bytes(), str(onnx_path))
    api.log.errors.clear()
    seen = {error.message for error in refused}
    refused += [e for e in _refusals(api, survey, onnx_path) if e.message not in seen]
    raise_all(refused)


def _refusals(api: TensorrtApi, parser: Any, onnx_path: Path) -> Iterator[NativeError]:
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        operator, name = error.node_operator(), error.node_name()
        where = f"node {error.node()}, {operator} {name!r}" if operator else "the file"
        said = error.desc().removeprefix("Assertion failed: ")
        if said in ("", "false"):
            said = "this operator is not supported"
        yield NativeError(
            f"{onnx_path.name}: {where}: {api.package.module} {api.version} refuses it",
            code="ENG212",
            why=f"{error.code().name}: {said} ({error.func()})",
        )
