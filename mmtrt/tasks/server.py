"""A server of our own: started in a group of its own, and never left behind.

It knows processes and ports; what the server is asked is the business of ``chat``.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mmtrt.tasks.messages import TaskError, quoted

GUARD = 'read -r _; kill -s KILL -- "-$0"'
"""For a shell whose stdin ends when we do: kills the group even if we are killed ourselves."""


class Server:
    """A running command with everything that it started."""

    def __init__(self, argv: Sequence[str]) -> None:
        """Start it, with its output on ours.

        On Linux it dies with the thread that starts it; so that must be the main thread.

        Raises:
            TaskError: NET126.
        """
        self.argv = list(argv)
        try:
            self._popen = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        except OSError as error:
            raise TaskError(
                f"the server `{quoted(self.argv[0])}` cannot be started",
                code="NET126",
                why=error.strerror,
                fix="install it, or correct the command after `--`",
            ) from error
        _adopt_orphans(True)
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, str(self._popen.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def has_ended(self) -> bool:
        """Return whether the command itself is over; its children may live on."""
        return self._popen.poll() is not None

    def ends_within(self, timeout_s: float) -> bool:
        """Wait for the command itself to be over, and return whether it is."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(timeout_s)
        return self.has_ended()

    def ended(self, when: str) -> TaskError:
        """Say how the command ended, where it should not have."""
        status = self._popen.wait()
        return TaskError(
            f"the server ended {when}: {_describe(status)}",
            code="NET122",
            fix=f"read what it says above; the command is: {shlex.join(self.argv)}",
        )

    def require_success(self) -> None:
        """Refuse a server that ended by itself and not well.

        Raises:
            TaskError: NET122.
        """
        if self._popen.returncode:
            raise self.ended("by itself")

    def stop(self, timeout_s: float, in_a_hurry: Callable[[], bool]) -> None:
        """End the whole group: ask, wait at most ``timeout_s`` or until in a hurry, insist."""
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + timeout_s
        while self._is_alive() and time.monotonic() < deadline and not in_a_hurry():
            time.sleep(0.02)
        self._signal(signal.SIGKILL)
        self._popen.wait()
        while self._is_alive():  # until the kernel has taken all down, and the port is free
            time.sleep(0.02)
        self._guard.kill()
        self._guard.communicate()
        _adopt_orphans(False)

    def _is_alive(self) -> bool:
        """Return whether anything of the group is left; reap what ended."""
        if self._popen.poll() is not None:
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-self._popen.pid, os.WNOHANG)[0]:
                    pass
        try:
            os.killpg(self._popen.pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, number)


def require_free(host: str, port: int) -> None:
    """Refuse a port on which somebody answers.

    Raises:
        TaskError: NET121.
    """
    try:
        socket.create_connection((host, port), 2).close()
    except OSError:
        return
    who = next(listeners(port), None)
    raise TaskError(
        f"port {port} of {quoted(host)} is taken",
        code="NET121",
        why=f"{who} listens there" if who else "another process listens there",
        fix="choose another port, in --url and in the command of the server; or end that process",
    )


def listeners(port: int) -> Iterator[str]:
    """Yield the processes that listen on a TCP port, as far as ``/proc`` lets us see."""
    sockets = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                local, state, inode = (line.split()[column] for column in (1, 3, 9))
                if state == "0A" and int(local.rpartition(":")[2], 16) == port:
                    sockets.add(f"socket:[{inode}]")
    for process in Path("/proc").glob("[0-9]*") if sockets else ():
        with contextlib.suppress(OSError):
            if any(os.readlink(fd) in sockets for fd in (process / "fd").iterdir()):  # noqa: PTH115 - it is no path
                words = os.fsdecode((process / "cmdline").read_bytes()).split("\0")
                yield f"pid {process.name} (`{quoted(' '.join(words).strip()[:80])}`)"


def _describe(status: int) -> str:
    return f"exit status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"


_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
"""Loaded before the fork: between fork and exec nothing may allocate more than it must."""


def _die_with_parent() -> None:
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _adopt_orphans(is_wanted: bool) -> None:
    """Become the parent of what the server leaves behind, or no longer.

    Where a container has no ``init``, nobody else would reap it, and the group would seem alive.
    """
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, int(is_wanted))
