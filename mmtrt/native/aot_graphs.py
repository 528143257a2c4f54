"""Vision encoders as AOTInductor packages, behind the interface of ONNX Runtime's sessions.

Any graph of a family will do: inputs are named by the family, outputs come back in its order. As
with language models the package holds code only, and weights lie beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch.utils import _pytree as pytree

from mmtrt.native.aot_build import DTYPES, OPTIONS, write_package, write_state
from mmtrt.native.aot_config import WEIGHTS_FILE
from mmtrt.native.aot_package import Package, load_package
from mmtrt.native.component import CONFIG_FILE
from mmtrt.native.engine_config import AOT_GRAPH
from mmtrt.native.errors import NativeError
from mmtrt.native.graph import Graph
from mmtrt.native.json_file import read_json
from mmtrt.native.onnx_export import ExportedGraph, TensorSpec
from mmtrt.native.progress import say
from mmtrt.native.tensorrt_graphs import Named


def compile_graph(graph: Graph, output_dir: Path, *, device: str, dtype: str) -> ExportedGraph:
    """Write the package and the weights of a graph.

    Args:
        graph: in float32, on the CPU; its module is moved and cast.
        output_dir: made if needed.
        device: ``cpu`` or ``cuda``.
        dtype: type of weights and of inputs that are not whole numbers; what the model computes
            from its settings alone, as rotary frequencies, stays in float32.
    """

    def moved(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        return value.to(device, DTYPES[dtype] if value.is_floating_point() else value.dtype)

    output_dir.mkdir(parents=True, exist_ok=True)
    package = output_dir / AOT_GRAPH
    started = perf_counter()
    module = cast(graph.module, device, DTYPES[dtype]).eval().requires_grad_(False)
    args = pytree.tree_map(moved, graph.args)
    with torch.no_grad():
        program = write_package(module, args, graph.dynamic_shapes, package, OPTIONS)
        outputs = pytree.tree_leaves(module(*args))
    wanted = Package(package).get_constant_fqns()
    constants = {**program.state_dict, **program.constants}
    write_state({name: constants[name] for name in wanted}, output_dir / WEIGHTS_FILE)
    files = (AOT_GRAPH, WEIGHTS_FILE)
    size = sum((output_dir / name).stat().st_size for name in files)
    say(f"compiled {AOT_GRAPH} in {perf_counter() - started:.0f} s")
    return ExportedGraph(
        files=files,
        inputs=_specs(graph.input_names, pytree.tree_leaves(args)),
        outputs=_specs(graph.output_names, outputs),
        opset=None,
        size_bytes=size,
    )


def cast(module: torch.nn.Module, device: str, dtype: torch.dtype) -> torch.nn.Module:
    """Move a module; cast what checkpoints hold of it, as ``from_pretrained`` does."""
    stored = module.state_dict().keys()
    computed = {name: each for name, each in module.named_buffers() if name not in stored}
    module.to(device, dtype)
    for name, each in computed.items():
        owner, _, last = name.rpartition(".")
        setattr(module.get_submodule(owner), last, each.to(device))
    return module


class AotGraphs:
    """Component name to its package, each loaded when it is first needed."""

    def __init__(self, directories: Mapping[str, Path]) -> None:
        """Remember where each component's package is."""
        self._directories = directories
        self._graphs: dict[str, AotGraph] = {}
        self.load_ms = 0.0
        """Wall time spent on loading packages so far."""

    def __getitem__(self, component: str) -> AotGraph:
        self.load(component)
        return self._graphs[component]

    def load(self, component: str) -> None:
        """Load a package, once.

        Raises:
            NativeError: ART203, if the directory holds none.
        """
        if component not in self._graphs:
            started = perf_counter()
            self._graphs[component] = AotGraph(self._directories[component])
            self.load_ms += (perf_counter() - started) * 1e3


class AotGraph:
    """One package with the methods of ``onnxruntime.InferenceSession`` that ``session`` uses."""

    def __init__(self, directory: Path) -> None:
        """Load package and weights.

        Raises:
            NativeError: ART203, if a file is missing.
        """
        from safetensors.torch import load_file

        config = read_json(directory / CONFIG_FILE, code="ART203", what="the vision engine")
        if not (directory / WEIGHTS_FILE).is_file():
            raise NativeError(f"{directory / WEIGHTS_FILE}: no such file", code="ART203")
        self._device = config["tied_to"]["device"]
        self._dtypes = {spec["name"]: getattr(torch, spec["dtype"]) for spec in config["inputs"]}
        self._outputs = [Named(spec["name"]) for spec in config["outputs"]]
        self._weights = load_file(directory / WEIGHTS_FILE, device=self._device)
        self._package = load_package(directory / AOT_GRAPH, self._weights)

    def get_outputs(self) -> Sequence[Named]:
        """Return the outputs in the order of the graph."""
        return self._outputs

    def run(self, names: Sequence[str], feeds: Mapping[str, Any]) -> list[Any]:
        """Return outputs as numpy arrays; those of narrow types in float32."""
        inputs = [
            torch.as_tensor(feeds[name]).to(self._device, dtype).contiguous()
            for name, dtype in self._dtypes.items()
        ]
        found = self._package(*inputs)
        by_name = dict(zip((output.name for output in self._outputs), pytree.tree_leaves(found)))
        return [_to_numpy(by_name[name]) for name in names]


def _to_numpy(value: torch.Tensor) -> Any:
    return (value.float() if value.is_floating_point() else value).cpu().numpy()


def _specs(names: Sequence[str], examples: Sequence[torch.Tensor]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name, str(each.dtype).removeprefix("torch."), tuple(each.shape))
        for name, each in zip(names, examples)
    )
