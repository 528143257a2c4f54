"""This machine, probed once: cores, memory, GPUs and the versions of what is installed.

Nothing heavy is imported and no process is started: versions come from package metadata, GPUs
from the driver's library.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from mmtrt.cpu import this_cpu

CONTAINER_EXAMPLES = "/app/tensorrt_llm/examples"
"""Where NVIDIA's release containers keep TensorRT-LLM's example scripts."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU that the driver shows."""

    index: int
    name: str
    uuid: str
    sm: int
    """Compute capability without the dot, such as 90."""
    memory_bytes: int


@dataclass(frozen=True)
class HostInfo:
    """A machine, as far as plans and rules look at it."""

    hostname: str
    system: str
    python: str
    cpus: int
    ram_bytes: int
    gpus: tuple[Gpu, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    """Known distribution versions; others are looked up in the metadata when asked for."""
    cpu: str = "unknown"
    """Class of the processor; see :mod:`mmtrt.cpu`."""
    torch_cuda: str | None = None
    """CUDA version that the installed PyTorch is built for; ``None``: for none, or not there."""
    cxx: str | None = None
    """C++ compiler that PyTorch's inductor would call."""
    trtllm_examples: str | None = None
    """TensorRT-LLM's example scripts of this machine."""
    is_root: bool = False
    lookup: bool = True
    """Whether :meth:`version` may look at this machine's own packages."""

    def version(self, distribution: str) -> str | None:
        """Return the installed version of a distribution, or ``None``."""
        if distribution in self.versions:
            return self.versions[distribution]
        return _version(distribution) if self.lookup else None

    def to_json(self) -> dict[str, Any]:
        """Return what manifests and reports say of the machine."""
        return {
            "hostname": self.hostname,
            "system": self.system,
            "python": self.python,
            "cpus": self.cpus,
            "ram_bytes": self.ram_bytes,
            "gpus": [
                {"name": g.name, "uuid": g.uuid, "sm": g.sm, "memory_bytes": g.memory_bytes}
                for g in self.gpus
            ],
        }


def probe() -> HostInfo:
    """Look at this machine."""
    machine = os.uname()
    return HostInfo(
        hostname=machine.nodename,
        system=f"{machine.sysname} {machine.machine}",
        python=".".join(map(str, sys.version_info[:3])),
        cpus=_usable_cpus(),
        ram_bytes=_usable_ram(),
        gpus=_gpus(),
        cpu=this_cpu(),
        torch_cuda=_torch_cuda(),
        # Source: cpp.cxx of torch/_inductor/config.py.
        cxx=shutil.which(os.environ.get("CXX", "g++")),
        trtllm_examples=CONTAINER_EXAMPLES if Path(CONTAINER_EXAMPLES).is_dir() else None,
        is_root=os.geteuid() == 0,
    )


def _version(distribution: str) -> str | None:
    return _installed().get(_normalized(distribution))


@lru_cache(maxsize=1)
def _installed() -> dict[str, str]:
    """Return the version of every distribution on the path, by normalized name.

    Read from the names of ``*.dist-info`` directories, which hold both ("Recording installed
    projects", Python Packaging User Guide); parsing the metadata itself takes milliseconds each.
    """
    found: dict[str, str] = {}
    for place in sys.path:
        try:
            names = os.listdir(place or ".")  # noqa: PTH208 - a hundred Path objects for nothing
        except OSError:
            continue
        for name in names:
            if name.endswith(".dist-info"):
                distribution, dash, version = name.removesuffix(".dist-info").partition("-")
                if dash:
                    found.setdefault(_normalized(distribution), version)
    return found


def _torch_cuda() -> str | None:
    """Return what the installed PyTorch says of itself, without importing it: that takes seconds.

    The version alone does not tell: wheels from PyPI have none of the suffixes of PyTorch's index.
    """
    for place in sys.path:
        try:
            text = (Path(place or ".") / "torch/version.py").read_text(encoding="utf-8")
        except OSError:
            continue
        found = re.search(r"^cuda\b[^=\n]*=\s*'([\d.]+)'", text, re.MULTILINE)
        return found[1] if found else None
    return None


def _normalized(name: str) -> str:
    """Return a name as PEP 503 compares it."""
    return name.lower().replace("_", "-").replace(".", "-")


def _usable_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _usable_ram() -> int:
    """Return physical memory, or the container's cap where that is lower."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for place in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(place).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            return min(total, int(text))
    return total


def _gpus() -> tuple[Gpu, ...]:
    """Ask NVML through its C library; no GPU driver means no GPUs."""
    if not Path("/dev/nvidiactl").exists():
        return ()
    import ctypes

    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return ()
    if nvml.nvmlInit_v2() != 0:
        return ()
    try:
        count = ctypes.c_uint()
        nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
        return tuple(_gpu(nvml, index) for index in range(count.value))
    finally:
        nvml.nvmlShutdown()


def _gpu(nvml: Any, index: int) -> Gpu:
    import ctypes

    class Memory(ctypes.Structure):
        # nvmlMemory_t of nvml.h
        _fields_ = (
            ("total", ctypes.c_ulonglong),
            ("free", ctypes.c_ulonglong),
            ("used", ctypes.c_ulonglong),
        )

    handle = ctypes.c_void_p()
    nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(handle))
    name, uuid = ctypes.create_string_buffer(96), ctypes.create_string_buffer(96)
    nvml.nvmlDeviceGetName(handle, name, 96)
    nvml.nvmlDeviceGetUUID(handle, uuid, 96)
    major, minor, memory = ctypes.c_int(), ctypes.c_int(), Memory()
    nvml.nvmlDeviceGetCudaComputeCapability(handle, ctypes.byref(major), ctypes.byref(minor))
    nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
    return Gpu(
        index=index,
        name=name.value.decode(),
        uuid=uuid.value.decode(),
        sm=major.value * 10 + minor.value,
        memory_bytes=memory.total,
    )
