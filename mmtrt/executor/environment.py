"""The variables that a stage's process sees."""

from __future__ import annotations

import os
from collections.abc import Mapping

from mmtrt.backends.base import Command, Script
from mmtrt.executor.tokens import Lease

PASSED = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TMPDIR",
    "LANG",
    "TZ",
    "TERM",
    "VIRTUAL_ENV",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "PYTHONPATH",
    "PYTHONHOME",
)
"""Handed on to every stage: what a process needs to start at all."""

PASSED_PREFIXES = ("LC_", "XDG_", "CUDA_", "NVIDIA_", "NCCL_", "OMPI_", "OMP_", "OPENBLAS_", "MKL_")
"""Handed on likewise: locale, driver, MPI and threading."""


def environment(
    command: Command, lease: Lease, base: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the variables of a process: an allow-list, the command's own, and the lease's GPUs.

    A stage that declares no network is told so, so that a hidden download fails at once instead of
    hanging on a machine without network.
    """
    base = os.environ if base is None else base
    env = {
        name: value
        for name, value in base.items()
        if name in PASSED or name.startswith(PASSED_PREFIXES) or name in command.pass_env
    }
    env["PYTHONUNBUFFERED"] = "1"
    env["PYTHONIOENCODING"] = "utf-8:backslashreplace"  # as logs are read
    if not any(isinstance(word, Script) for word in command.argv):
        # mmtrt's own modules come from where they are installed; example scripts import their
        # neighbours.
        env["PYTHONSAFEPATH"] = "1"
    if not command.resources.network:
        env["HF_HUB_OFFLINE"] = "1"
    if lease.gpus:
        env["CUDA_VISIBLE_DEVICES"] = ",".join(lease.gpus)
    return env | dict(command.env)
