"""TensorRT as far as ``PlanSession`` asks it, on a CPU: the plan is an ONNX file, run from memory.

Tensors are read and written by address, as on a GPU, so a wrong shape, type or lifetime shows.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
from dataclasses import asdict
from math import prod
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort

from mmtrt.native.json_file import write_json
from mmtrt.native.tensorrt_api import PACKAGES, TensorrtApi
from mmtrt.native.tensorrt_profile import graph_io, profile_of
from mmtrt.native.tensorrt_session import PlanSession

NAMES = {"float": "FLOAT", "int64": "INT64", "bool": "BOOL"}
TYPES = {"FLOAT": np.float32, "INT64": np.int64, "BOOL": np.bool_}


class Engine:
    def __init__(self, plan: bytes) -> None:
        self.graph = ort.InferenceSession(plan, providers=["CPUExecutionProvider"])
        sides = (*self.graph.get_inputs(), *self.graph.get_outputs())
        self.types = {side.name: NAMES[side.type[len("tensor(") : -1]] for side in sides}

    def get_tensor_dtype(self, name: str) -> Any:
        return SimpleNamespace(name=self.types[name])

    def create_execution_context(self) -> Context:
        return Context(self)


class Context:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self.results: dict[str, Any] = {}
        self.calls = 0

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = shape
        return True

    def set_tensor_address(self, name: str, address: int) -> None:
        self.addresses[name] = address

    def infer_shapes(self) -> list[str]:
        outputs = [side.name for side in self.engine.graph.get_outputs()]
        feeds = {name: self._array(name, shape).copy() for name, shape in self.shapes.items()}
        self.results = dict(zip(outputs, self.engine.graph.run(outputs, feeds)))
        return []

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.results[name].shape)

    def execute_async_v3(self, stream: int) -> bool:
        for name, value in self.results.items():
            self._array(name, value.shape)[...] = value
        self.calls += 1
        return True

    def _array(self, name: str, shape: tuple[int, ...]) -> Any:
        kind = np.dtype(TYPES[self.engine.types[name]])
        buffer = (ctypes.c_char * (prod(shape) * kind.itemsize)).from_address(self.addresses[name])
        return np.frombuffer(buffer, dtype=kind).reshape(shape)


class StandIn(TensorrtApi):
    def __init__(self, *, version: str = "1.7.1.116", sm: int | None = 89) -> None:
        self.package, self.version, self._sm = PACKAGES["tensorrt_rtx"], version, sm
        self.log = SimpleNamespace(errors=[])
        runtime = SimpleNamespace(deserialize_cuda_engine=self._deserialize)
        self.trt = SimpleNamespace(Runtime=lambda log: runtime)

    def visible_sm(self) -> int | None:
        return self._sm

    def _deserialize(self, plan: bytes) -> Engine | None:
        try:
            return Engine(plan)
        except Exception as error:  # noqa: BLE001 - onnxruntime's errors have no other base
            self.log.errors.append(f"the stand-in says: {error}")
            return None


class CpuSession(PlanSession):
    device = "cpu"

    def _execute(self) -> None:
        if not self._context.execute_async_v3(0):
            raise self._failed("did not run")


def as_plan(graph_dir: Path, directory: Path) -> Path:
    """Write a directory whose plan is an ONNX file, with the record that a build writes."""
    directory.mkdir(parents=True)
    document = json.loads((graph_dir / "config.json").read_text())
    plan = (graph_dir / "model.onnx").read_bytes()
    inputs, outputs = graph_io(graph_dir / "model.onnx")
    profile = profile_of(document["component"], document["limits"], inputs)
    document["plan"] = {
        "package": "tensorrt_rtx",
        "version": "1.7.1.116",
        "compute_capabilities": [89],
        "inputs": [asdict(spec) for spec in inputs],
        "outputs": [asdict(spec) for spec in outputs],
        "profile": {name: shapes.to_json() for name, shapes in profile.items()},
        "sha256": hashlib.sha256(plan).hexdigest(),
        "size_bytes": len(plan),
    }
    (directory / "model.plan").write_bytes(plan)
    write_json(directory / "config.json", {**document, "engine": "tensorrt_rtx"})
    return directory
