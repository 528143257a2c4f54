"""Plans behind the interface of ONNX Runtime's sessions, as far as ``session`` uses it.

So the loop over prompts, tokens and caches is written once. Caches stay on the GPU from one step
to the next; all else is small and crosses the bus with every call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from mmtrt.native.engine_config import AOT_GRAPH
from mmtrt.native.ort_graphs import OrtGraphs
from mmtrt.native.tensorrt_api import PLAN_FILE
from mmtrt.native.tensorrt_session import PlanSession


class PlanGraphs:
    """Component name to its plan, each loaded when it is first needed."""

    def __init__(
        self,
        directories: Mapping[str, Path],
        open_plan: Callable[[Path], PlanSession] = PlanSession,
    ) -> None:
        """Remember where each component's plan is, and how it is opened."""
        self._directories = directories
        self._open = open_plan
        self._graphs: dict[str, PlanGraph] = {}
        self.load_ms = 0.0
        """Wall time spent on loading plans so far."""

    def __getitem__(self, component: str) -> PlanGraph:
        self.load(component)
        return self._graphs[component]

    def load(self, component: str) -> None:
        """Load a plan, once.

        Raises:
            NativeError: what :class:`PlanSession` raises.
        """
        if component not in self._graphs:
            started = perf_counter()
            self._graphs[component] = PlanGraph(self._open(self._directories[component]))
            self.load_ms += (perf_counter() - started) * 1e3


def graphs_of(directories: dict[str, Path]) -> Any:
    """Return the graphs of engine directories: plans, packages, or what ONNX Runtime runs."""
    if all((directory / PLAN_FILE).is_file() for directory in directories.values()):
        return PlanGraphs(directories)
    if all((directory / AOT_GRAPH).is_file() for directory in directories.values()):
        from mmtrt.native.aot_graphs import AotGraphs

        return AotGraphs(directories)
    return OrtGraphs(directories)


@dataclass(frozen=True)
class Named:
    """An output of a graph."""

    name: str


@dataclass(frozen=True)
class DeviceValue:
    """A tensor that stays where the plan runs."""

    tensor: Any

    def numpy(self) -> Any:
        """Return a copy in host memory."""
        return self.tensor.cpu().numpy()


@dataclass
class PlanBinding:
    """Inputs of one call, and its outputs once it has run."""

    device: str
    feeds: dict[str, Any] = field(default_factory=dict)
    wanted: list[str] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)

    def bind_cpu_input(self, name: str, value: Any) -> None:
        """Copy a numpy array to the device."""
        import torch

        self.feeds[name] = torch.from_numpy(value).to(self.device)

    def bind_ortvalue_input(self, name: str, value: Any) -> None:
        """Take what an earlier call returned; anything else, such as an empty cache, is copied."""
        if isinstance(value, DeviceValue):
            self.feeds[name] = value.tensor
        else:
            self.bind_cpu_input(name, value.numpy())

    def bind_output(self, name: str, device: str = "cpu") -> None:
        """Ask for an output; it stays on the plan's device until ``numpy`` is called."""
        self.wanted.append(name)

    def get_outputs(self) -> list[DeviceValue]:
        """Return the outputs in the order in which they were bound."""
        return [DeviceValue(self.outputs[name]) for name in self.wanted]


class PlanGraph:
    """One plan with the methods of ``onnxruntime.InferenceSession``."""

    def __init__(self, plan: PlanSession) -> None:
        """Wrap a loaded plan."""
        self._plan = plan

    def get_outputs(self) -> list[Named]:
        """Return the outputs in the order of the graph."""
        return [Named(name) for name in self._plan.record.outputs]

    def io_binding(self) -> PlanBinding:
        """Return an empty binding."""
        return PlanBinding(self._plan.device)

    def run_with_iobinding(self, binding: PlanBinding) -> None:
        """Run one call."""
        binding.outputs = self._plan.run(binding.feeds)

    def run(self, names: Sequence[str], feeds: Mapping[str, Any]) -> list[Any]:
        """Return outputs as numpy arrays."""
        import numpy as np

        binding = self.io_binding()
        for name, value in feeds.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(value))
        for name in names:
            binding.bind_output(name)
        self.run_with_iobinding(binding)
        return [value.numpy() for value in binding.get_outputs()]
