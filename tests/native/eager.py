"""Engines without an export: the families' own graphs, run as PyTorch modules.

All but the exporter and its runtime is the real thing: checkpoints, engine directories and their
configurations, limits, sessions, frontends. A family is built in a tenth of the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mmtrt.native.onnx_export import MODEL_FILE, ExportedGraph, TensorSpec, _axes


class EagerGraph:
    """One graph behind what ``PlanGraph`` asks of a plan."""

    device = "cpu"

    def __init__(self, module: Any, args: Any, inputs: Sequence[str], outputs: Sequence[str]):
        from torch.utils import _pytree

        self._module, self._names, self.outputs = module, list(inputs), list(outputs)
        _, self._shape = _pytree.tree_flatten(args)

    @property
    def record(self) -> EagerGraph:
        return self

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        import torch
        from torch.utils import _pytree

        args = _pytree.tree_unflatten([feeds[name] for name in self._names], self._shape)
        with torch.inference_mode():
            flat, _ = _pytree.tree_flatten(self._module(*args))
        return dict(zip(self.outputs, flat, strict=True))


@contextmanager
def eager_engines() -> Iterator[None]:
    """Let ``build_llm`` and ``build_vision`` keep their graphs, and sessions run those."""
    from mmtrt.native import build_llm, build_vision, session
    from mmtrt.native.tensorrt_graphs import PlanGraphs

    kept: dict[Path, EagerGraph] = {}

    def keep(
        module: Any,
        args: Any,
        dynamic_shapes: Any,
        *,
        input_names: Sequence[str],
        output_names: Sequence[str],
        output_dir: Path,
        weight_dtype: str,
    ) -> ExportedGraph:
        from torch.utils import _pytree

        graph = EagerGraph(module, args, input_names, output_names)
        kept[output_dir.resolve()] = graph
        (output_dir / MODEL_FILE).write_bytes(b"kept in memory")
        flat, _ = _pytree.tree_flatten(args)
        given = graph.run(dict(zip(input_names, flat, strict=True)))
        open_sides = [axes or {} for axes in _axes(dynamic_shapes)]
        return ExportedGraph(
            files=(MODEL_FILE,),
            inputs=tuple(
                _spec(name, tensor, {axis: dim.__name__ for axis, dim in axes.items()})
                for name, tensor, axes in zip(input_names, flat, open_sides, strict=True)
            ),
            outputs=tuple(_spec(name, tensor, {}) for name, tensor in given.items()),
            opset=None,
            size_bytes=0,
        )

    with pytest.MonkeyPatch.context() as patch:
        for stage in (build_llm, build_vision):
            patch.setattr(stage, "export_onnx", keep)
        patch.setattr(
            session,
            "graphs_of",
            lambda places: PlanGraphs(places, lambda place: kept[place.resolve()]),
        )
        yield


def _spec(name: str, tensor: Any, sides: Mapping[int, str]) -> TensorSpec:
    shape = tuple(sides.get(axis, side) for axis, side in enumerate(tensor.shape))
    return TensorSpec(name, str(tensor.dtype).removeprefix("torch."), shape)
