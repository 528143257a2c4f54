"""Engine directories of ``--engine aot_inductor``: packages, weights and ``config.json``.

The last step of ``build_llm`` and ``build_vision``; ``config.json`` is written last: a directory
without it holds no engine.
"""

from __future__ import annotations

import argparse
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from mmtrt.native.aot_config import CONFIG_FILE as AOT_FILE
from mmtrt.native.aot_config import read_aot_config, weights_of
from mmtrt.native.component import Component
from mmtrt.native.engine_config import AOT_GRAPH, write_engine_config
from mmtrt.native.errors import NativeError
from mmtrt.native.graph import Graph
from mmtrt.native.limits import LlmLimits
from mmtrt.native.onnx_export import ExportedGraph, TensorSpec
from mmtrt.native.progress import mebibytes, say
from mmtrt.native.tensorrt_api import HostLacks
from mmtrt.native.ties import AOT_ENGINE, ties_of

DEVICES = ("cpu", "cuda")
DTYPES = ("auto", "float32", "float16", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class AotTarget:
    """Where packages will run, and in which type they compute."""

    device: str = "cpu"
    dtype: str = "auto"
    """``auto``: the type in which the checkpoint stores weights."""

    def dtype_of(self, component: Component) -> str:
        """Return the type of weights, activations and cache."""
        return component.dtype if self.dtype == "auto" else self.dtype


def add_aot_target(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a package's target."""
    parser.add_argument(
        "--device", choices=DEVICES, help="where packages run (aot_inductor; default cpu)"
    )
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        help="what packages store and compute in (aot_inductor; default the checkpoint's)",
    )


def aot_target_of(flags: argparse.Namespace) -> AotTarget | None:
    """Return the target that the flags name, and check early that this machine can build for it.

    Raises:
        NativeError: ENG221, if another engine format is given a target of packages.
        HostLacks: ENV203 without a C++ compiler; HST202 without a GPU that PyTorch can use.
    """
    if flags.engine != AOT_ENGINE:
        if flags.device or flags.dtype:
            raise NativeError(
                f"--device and --dtype are for {AOT_ENGINE}, --engine is {flags.engine}",
                code="ENG221",
            )
        return None
    # Source: cpp.cxx of torch/_inductor/config.py.
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise HostLacks(
            f"no C++ compiler: {compiler} is not on PATH",
            code="ENV203",
            why="packages are C++ that PyTorch writes and compiles",
            fix="install g++, or set CXX, or use engine=onnxruntime",
        )
    target = AotTarget(device=flags.device or "cpu", dtype=flags.dtype or "auto")
    if target.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise HostLacks(
                f"PyTorch {torch.__version__} finds no GPU",
                code="HST202",
                why="packages for a GPU are compiled and tuned on it",
                fix="build on a machine with that GPU and a PyTorch for it, or use "
                "engine=onnxruntime",
            )
    return target


def build_llm_packages(
    component: Component,
    checkpoint_dir: Path,
    output_dir: Path,
    *,
    limits: LlmLimits,
    target: AotTarget,
) -> None:
    """Write the engine directory of a language model.

    Raises:
        NativeError: MDL2xx or QNT205, if packages cannot hold this language model.
    """
    from mmtrt.native.aot_build import build_aot_llm

    if component.component != "llm":
        raise NativeError(
            f"{AOT_ENGINE} has no graph for a language model that reads and writes apart",
            code="MDL208",
            fix="use engine=onnxruntime",
        )
    dtype = target.dtype_of(component)
    build_aot_llm(checkpoint_dir, output_dir, limits=limits, device=target.device, dtype=dtype)
    config = read_aot_config(output_dir)
    packages = [f"{name}.pt2" for name in config.packages]
    ranks = component.tp_size
    weights = [weights_of(rank, ranks) for rank in range(ranks)]
    files = (AOT_FILE, *packages, *weights)
    size = sum((output_dir / name).stat().st_size for name in files)
    inputs: tuple[TensorSpec, ...] = (
        TensorSpec("ids", "int64", ("batch", "tokens")),
        TensorSpec("lengths", "int64", ("batch",)),
        TensorSpec("table", dtype, ("rows", component.hidden_size)),
    )
    if config.position_axes:
        inputs += (TensorSpec("positions", "int64", (config.position_axes, "batch", "tokens")),)
    outputs = (TensorSpec("logits", "float32", ("batch", component.vocab_size)),)
    write_engine_config(
        output_dir,
        component,
        checkpoint_dir,
        engine=AOT_ENGINE,
        limits={name: value for name, value in limits.to_json().items() if value is not None},
        graph=ExportedGraph(files, inputs, outputs, opset=None, size_bytes=size),
        dtype=dtype,
        ties=ties_of(AOT_ENGINE, target.device),
    )
    shared = f", {ranks} ranks" if ranks > 1 else ""
    say(f"wrote the LLM engine: {mebibytes(size)}, {dtype} on {target.device}{shared}")


def build_vision_package(
    graph: Graph,
    component: Component,
    checkpoint_dir: Path,
    output_dir: Path,
    *,
    max_batch_size: int,
    target: AotTarget,
) -> None:
    """Write the engine directory of a vision encoder."""
    from mmtrt.native.aot_graphs import compile_graph

    dtype = target.dtype_of(component)
    exported = compile_graph(graph, output_dir, device=target.device, dtype=dtype)
    write_engine_config(
        output_dir,
        component,
        checkpoint_dir,
        engine=AOT_ENGINE,
        limits={"max_batch_size": max_batch_size},
        graph=exported,
        dtype=dtype,
        ties=ties_of(AOT_ENGINE, target.device),
    )
    size = mebibytes(exported.size_bytes)
    say(f"wrote the vision engine: {size} with {AOT_GRAPH}, {dtype} on {target.device}")
