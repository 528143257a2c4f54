"""Run a plan on a GPU: tensors in, tensors out, through TensorRT's Python API and torch.

Knows inputs and outputs by name and no model. Refuses a plan that does not fit before it is
loaded, and a call outside of its profile before the GPU is asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmtrt.native.errors import NativeError
from mmtrt.native.tensorrt_api import HostLacks, TensorrtApi
from mmtrt.native.tensorrt_record import PlanRecord, check_fit, check_shapes, read_record


class PlanSession:
    """One plan and its execution context; not for several threads at once."""

    device = "cuda"
    """Where tensors must lie."""

    def __init__(self, directory: Path, *, api: TensorrtApi | None = None) -> None:
        """Load the plan of an engine directory.

        Args:
            directory: holds ``model.plan`` and ``config.json``.
            api: the package; by default the one that built the plan.

        Raises:
            HostLacks: ENV202 or HST202, if the package or a GPU is missing.
            NativeError: ART211, if there is no plan or its file is damaged; ART212, if it was
                built for another version or GPU; ART213, if the package refuses it all the same.
        """
        self.record: PlanRecord = read_record(directory)
        self._api = api or TensorrtApi(self.record.package)
        sm = self._api.visible_sm()
        if sm is None:
            raise HostLacks(
                "torch sees no GPU here",
                code="HST202",
                why="a plan runs on a GPU only; it can be built without one",
                fix="run on a machine with a GPU, or use engine=onnxruntime",
            )
        check_fit(
            self.record,
            package=self._api.package.module,
            version=self._api.version,
            sm=sm,
        )
        plan = _read(self.record)
        # The engine lives no longer than its runtime.
        self._runtime = self._api.trt.Runtime(self._api.log)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        self._context = self._engine and self._engine.create_execution_context()
        if self._context is None:
            raise NativeError(
                f"{self.record.path}: {self._api.package.module} cannot load the plan",
                code="ART213",
                why=self._api.errors(),
                fix="build the engine again on this machine's versions",
            )

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Return the outputs of one call; waits for them.

        Args:
            feeds: input -> torch tensor on ``device``, of the type and within the shapes that
                the plan takes; made contiguous where it is not.

        Raises:
            NativeError: RUN221, if an input is missing, unknown, of another type or too large;
                RUN222, if the package reports a failure.
        """
        import torch

        check_shapes(self.record, {name: tuple(value.shape) for name, value in feeds.items()})
        # Bound by address: they must stay alive until the call has ended.
        held = {name: value.contiguous() for name, value in feeds.items()}
        for name, value in held.items():
            wanted = self._api.torch_dtype(self._engine.get_tensor_dtype(name))
            if value.dtype != wanted or value.device.type != self.device:
                raise NativeError(
                    f"{self.record.path}: {name} is {value.dtype} on {value.device.type}, "
                    f"the plan takes {wanted} on {self.device}",
                    code="RUN221",
                )
            if not self._context.set_input_shape(name, tuple(value.shape)):
                raise self._failed(f"does not take {name} {list(value.shape)}")
            self._context.set_tensor_address(name, value.data_ptr())
        unresolved = self._context.infer_shapes()
        if unresolved:
            raise self._failed(f"cannot tell the shapes of {', '.join(unresolved)}")
        outputs = {}
        for name in self.record.outputs:
            outputs[name] = torch.empty(
                tuple(self._context.get_tensor_shape(name)),
                dtype=self._api.torch_dtype(self._engine.get_tensor_dtype(name)),
                device=self.device,
            )
            self._context.set_tensor_address(name, outputs[name].data_ptr())
        self._execute()
        return outputs

    def _execute(self) -> None:
        import torch

        # A stream of its own: on the default one TensorRT adds waits. Source: API documentation
        # of IExecutionContext.execute_async_v3.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        if not self._context.execute_async_v3(stream.cuda_stream):
            raise self._failed("did not run")
        stream.synchronize()

    def _failed(self, what: str) -> NativeError:
        return NativeError(f"{self.record.path}: {what}", code="RUN222", why=self._api.errors())


def _read(record: PlanRecord) -> bytes:
    """Return the bytes of a plan: it holds code, so only the plan that was recorded is loaded.

    Raises:
        NativeError: ART211.
    """
    if not record.path.is_file():
        raise NativeError(f"{record.path}: no such file", code="ART211", fix="build it again")
    plan = record.path.read_bytes()
    for name, wanted, found in (
        ("size_bytes", record.size_bytes, len(plan)),
        ("sha256", record.sha256, hashlib.sha256(plan).hexdigest()),
    ):
        if wanted != found:
            raise NativeError(
                f"{record.path}: {name} is {found}, {wanted} was recorded",
                code="ART211",
                why="the file is not the one that was built",
                fix="build the engine again",
            )
    return plan
