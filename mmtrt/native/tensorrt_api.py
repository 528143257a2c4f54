"""The Python API of TensorRT and of TensorRT-RTX behind one thin typed layer.

Owns what differs between the two packages: their names, who builds without a GPU, how a GPU is
aimed at, whose timing cache does anything. Imports either only when it is asked for.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from mmtrt.native.errors import NativeError


class HostLacks(NativeError):
    """This machine lacks a package or a GPU that the stage needs; exit status 5."""

    exit_code: ClassVar[int] = 5


def raise_all(errors: Iterable[NativeError]) -> None:
    """Raise the first error with the others behind it; go on if there is none."""
    found = [*errors]
    if found:
        first, *others = found
        first.also.extend(others)
        raise first


@dataclass(frozen=True, kw_only=True)
class Package:
    """One of the two packages."""

    module: str
    """What is imported, and the value of ``--engine``."""
    extra: str
    """The extra of mmtrt that installs it."""
    ahead_of_time: bool
    """Whether it builds for GPUs that are named, on a machine that has none."""


PACKAGES = {
    package.module: package
    for package in (
        Package(module="tensorrt", extra="tensorrt", ahead_of_time=False),
        Package(module="tensorrt_rtx", extra="tensorrt-rtx", ahead_of_time=True),
    )
}
PLAN_ENGINES = tuple(PACKAGES)
"""Values of ``--engine`` that are built into a plan."""
PLAN_FILE = "model.plan"
"""Name of the plan in an engine directory."""

# What TensorRT-RTX says on every machine without a driver, builds that succeed included.
_NO_DRIVER = "cudaError 35"


class TensorrtApi:
    """One imported package."""

    def __init__(self, engine: str) -> None:
        """Import the package of an engine format.

        Raises:
            HostLacks: ENV202, if it is not installed or its libraries cannot be loaded.
        """
        self.package = PACKAGES[engine]
        try:
            self.trt: Any = importlib.import_module(self.package.module)
        # The packages' own loaders raise what ctypes raises when a library is missing.
        except (ImportError, OSError) as error:
            lacks = isinstance(error, ModuleNotFoundError) and error.name == self.package.module
            raise HostLacks(
                f"the Python package {self.package.module} "
                + ("is not installed" if lacks else f"cannot be loaded: {error}"),
                code="ENV202",
                why=f"engine={engine} is built and run with it",
                fix=f"pip install 'mmtrt[native,{self.package.extra}]'",
            ) from error
        self.version: str = self.trt.__version__
        self.log = _message_log(self.trt)

    def capabilities(self) -> tuple[int, ...] | None:
        """Return the compute capabilities that can be named, such as 89; ``None``: none can."""
        if not self.package.ahead_of_time:
            return None
        names = self.trt.ComputeCapability.__members__
        return tuple(sorted(int(name[2:]) for name in names if name[2:].isdigit()))

    def builder(self) -> tuple[Any, Any]:
        """Return a builder and its empty, strongly typed network.

        Raises:
            HostLacks: HST202, if the package builds on a GPU only and there is none.
        """
        try:
            builder = self.trt.Builder(self.log)
        except TypeError as error:  # pybind11, of a factory that returned no object
            raise HostLacks(
                f"{self.package.module} cannot start: {self.errors()}",
                code="HST202",
                why="TensorRT times its kernels on the GPU that it builds for",
                fix="build on a machine with that GPU, or use engine=tensorrt_rtx",
            ) from error
        # The flag's number differs: TensorRT 10 has EXPLICIT_BATCH before it, TensorRT-RTX has not.
        flag = self.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
        return builder, builder.create_network(1 << int(flag))

    def aim(self, config: Any, capabilities: tuple[int, ...]) -> None:
        """Say which GPUs a plan is for; TensorRT always builds for the GPU it runs on."""
        if not self.package.ahead_of_time:
            return
        config.num_compute_capabilities = len(capabilities)
        for index, sm in enumerate(capabilities):
            config.set_compute_capability(getattr(self.trt.ComputeCapability, f"SM{sm}"), index)

    def load_timing_cache(self, config: Any, path: Path | None) -> None:
        """Start from the kernel timings of earlier builds; an unusable file counts as none.

        Source: TensorRT-RTX 1.2 deprecates timing caches: it times nothing ahead of time.
        """
        if self.package.ahead_of_time:
            return
        stored = path.read_bytes() if path is not None and path.is_file() else b""
        if not config.set_timing_cache(config.create_timing_cache(stored), False):
            config.set_timing_cache(config.create_timing_cache(b""), False)

    def save_timing_cache(self, config: Any, path: Path | None) -> None:
        """Write the kernel timings of this build and of those before it."""
        if self.package.ahead_of_time or path is None:
            return
        cache = config.get_timing_cache()
        if cache is not None:
            path.write_bytes(bytes(cache.serialize()))

    def visible_sm(self) -> int | None:
        """Return the compute capability of the GPU in use, such as 89; ``None`` without one."""
        import torch

        if not torch.cuda.is_available():
            return None
        major, minor = torch.cuda.get_device_capability()
        return int(major * 10 + minor)

    def torch_dtype(self, dtype: Any) -> Any:
        """Return the torch type of a tensor of an engine."""
        import torch

        names = {"FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16", "BOOL": "bool"}
        return getattr(torch, names.get(dtype.name, dtype.name.lower()))

    def errors(self) -> str:
        """Return what the package had to say since the last call, without the usual noise."""
        lines = [line for line in self.log.errors if _NO_DRIVER not in line] or self.log.errors
        text = "; ".join(dict.fromkeys(lines)) or "no reason given"
        self.log.errors.clear()
        return text


def _message_log(trt: Any) -> Any:
    """Return a logger that keeps errors and is silent otherwise."""

    class MessageLog(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(" ".join(message.split()))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return MessageLog()
