"""What a reader needs to know of the machine and the tools: never a name or path of it."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.peers import PACKAGES

OWN = ("mmtrt", "hydra-core", "omegaconf", "blake3", "torch", "onnxruntime")


def facts(bench: Bench) -> list[tuple[str, str]]:
    """Return (name, value) of everything that the numbers depend on."""
    versions = [f"{name} {_version(name)}" for name in OWN]
    peers = [f"{name} {bench.peers.version(name)}" for name in PACKAGES]
    load = f"{os.getloadavg()[0]:.1f}"  # of the last minute, before the first measurement
    return [
        ("date", datetime.now(timezone.utc).strftime("%Y-%m-%d")),
        ("processor", f"{cpu_model()}, {_cpus()} cores in use, load average {load} at the start"),
        ("priority", priority()),
        ("memory", f"{_memory_gib():.0f} GiB"),
        ("system", f"{platform.system()} {platform.release()}, work on {file_system(bench.work)}"),
        ("Python", platform.python_version()),
        ("packages", ", ".join(versions)),
        ("peers", ", ".join([*peers, b3sum_version(bench.b3sum)])),
    ]


def cpu_model() -> str:
    """Return the processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def priority() -> str:
    """Return how the kernel ranks this process: it matters where others share the cores."""
    if not hasattr(os, "sched_getscheduler"):
        return f"nice {os.nice(0)}"
    kinds = {os.SCHED_RR: "real-time (chrt -r)", os.SCHED_FIFO: "real-time (chrt -f)"}
    return kinds.get(os.sched_getscheduler(0), f"nice {os.nice(0)}")


def file_system(path: Path) -> str:
    """Return the type of the file system that holds a path: what fsync costs hangs on it."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "an unknown file system"
    above = [str(each) for each in (path.absolute(), *path.absolute().parents)]
    fitting = [(len(point), kind) for _, point, kind, *_ in mounts if point in above]
    return max(fitting)[1] if fitting else "an unknown file system"


def b3sum_version(command: str) -> str:
    """Return ``b3sum 1.2.0``, or that it is not installed."""
    try:
        done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "b3sum not installed"
    return done.stdout.strip()


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
