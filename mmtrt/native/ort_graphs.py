"""The graphs of an engine directory in ONNX Runtime, each loaded when it is first needed."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Any

from mmtrt.native.errors import NativeError
from mmtrt.native.onnx_export import MODEL_FILE

_LOG_ERRORS = 3


class OrtGraphs:
    """Component name to inference session."""

    def __init__(self, directories: dict[str, Path]) -> None:
        """Remember where each component's graph is."""
        self._directories = directories
        self._graphs: dict[str, Any] = {}
        self.load_ms = 0.0
        """Wall time spent on loading graphs so far."""

    def __getitem__(self, component: str) -> Any:
        self.load(component)
        return self._graphs[component]

    def load(self, component: str) -> None:
        """Load a graph, once.

        Raises:
            NativeError: ART203, if ONNX Runtime cannot load it.
        """
        if component in self._graphs:
            return
        started = perf_counter()
        import onnxruntime as ort
        from onnxruntime.capi import onnxruntime_pybind11_state as status

        options = ort.SessionOptions()
        options.log_severity_level = _LOG_ERRORS
        path = self._directories[component] / MODEL_FILE
        try:
            graph = ort.InferenceSession(
                path, sess_options=options, providers=["CPUExecutionProvider"]
            )
        # onnxruntime's errors have no common base class but Exception.
        except (
            status.Fail,
            status.InvalidArgument,
            status.InvalidGraph,
            status.InvalidProtobuf,
            status.NotImplemented,
        ) as error:
            raise NativeError(
                f"{path}: onnxruntime {ort.__version__} cannot load the graph: {error}",
                code="ART203",
                fix=f"build the {component} engine again, with the versions installed here",
            ) from error
        self._graphs[component] = graph
        self.load_ms += (perf_counter() - started) * 1e3
