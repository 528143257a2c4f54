"""Start one process, wait for it, end it with its whole group."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mmtrt.executor.logs import Pump
from mmtrt.redaction import of_machine


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything the operating system needs to start a command."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    stdout: Path
    stderr: Path


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended."""

    exit_code: int
    """Negative for a signal, as :mod:`subprocess` has it."""
    peak_rss_bytes: int

    def describe(self) -> str:
        """Return the end in words."""
        if self.exit_code >= 0:
            hint = " (137: often killed for memory)" if self.exit_code == 137 else ""
            return f"exit status {self.exit_code}{hint}"
        name = signal.Signals(-self.exit_code).name
        hint = "; often the kernel's out-of-memory killer" if name == "SIGKILL" else ""
        return f"killed by {name}{hint}"


class Process(Protocol):
    """A command that was started."""

    def wait(self) -> Ended:
        """Block until the process has ended."""
        ...

    def end(self, grace_s: float) -> None:
        """Ask the whole group to end, then insist."""
        ...


class Runner(Protocol):
    """Where commands run: here, on Ray, on SLURM."""

    def start(self, launch: Launch) -> Process:
        """Start a command; OSError if that is impossible."""
        ...


class LocalRunner:
    """Processes of this machine, each the leader of its own session."""

    def start(self, launch: Launch) -> Process:
        """Start a command.

        Must be called from a thread that lives as long as the process: on Linux the child is
        killed when the thread that made it ends, so that nothing outlives a killed mmtrt.
        """
        redactor = of_machine(launch.env, launch.argv)
        pumps: list[Pump] = []
        writing: list[int] = []
        try:
            for log in (launch.stdout, launch.stderr):
                reading, write = os.pipe()
                writing.append(write)
                pumps.append(Pump(reading, log, redactor))
            popen = subprocess.Popen(
                list(launch.argv),
                env=dict(launch.env),
                cwd=launch.cwd,
                stdin=subprocess.DEVNULL,
                stdout=writing[0],
                stderr=writing[1],
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        except BaseException:
            for pump in pumps:
                pump.discard()
            raise
        finally:
            for write in writing:
                os.close(write)
        for pump in pumps:
            pump.start()
        return LocalProcess(popen, pumps)


class LocalProcess:
    """A child process and its group."""

    def __init__(self, popen: subprocess.Popen[bytes], pumps: Sequence[Pump] = ()) -> None:
        """Watch over a process that leads its own group, and over what writes its logs."""
        self._popen, self._pumps = popen, pumps
        self._ended = False

    def wait(self) -> Ended:
        """Reap the process; its peak memory includes children that it waited for."""
        _, status, usage = os.wait4(self._popen.pid, 0)
        self._ended = True
        self._popen.returncode = os.waitstatus_to_exitcode(status)
        self._signal(signal.SIGKILL)  # what it left running in its group
        for pump in self._pumps:
            pump.finish()
        scale = 1 if sys.platform == "darwin" else 1024
        return Ended(self._popen.returncode, usage.ru_maxrss * scale)

    def end(self, grace_s: float) -> None:
        """Send SIGTERM to the group, and SIGKILL after ``grace_s`` seconds."""
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        while not self._ended and time.monotonic() < deadline:
            time.sleep(0.02)
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, number)


def _linux_prctl() -> ctypes.CDLL | None:
    return ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LIBC = _linux_prctl()
"""Loaded before the fork: between fork and exec nothing may allocate more than it must."""


def _die_with_parent() -> None:
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
