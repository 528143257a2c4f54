"""Waiting for events instead of for some time, with a limit that only a hang reaches."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

LIMIT_S = 120.0
"""Chosen: a hundred times what any wait of these tests takes on an idle machine."""


def wait_until(
    is_so: Callable[[], object],
    process: subprocess.Popen[str] | subprocess.Popen[bytes] | None = None,
) -> None:
    """Return once something is so; fail if that takes too long or the process ends before."""
    deadline = time.monotonic() + LIMIT_S
    while not is_so():
        if process is not None and process.poll() is not None:
            assert is_so(), f"it ended too early, with {process.returncode}"
            return
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


def lives(pid: int) -> bool:
    """Return whether a process runs; a zombie has ended, though nobody here may reap it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_for_end(*pids: int) -> None:
    """Return once processes have ended: a kill is carried out when the kernel gets to it."""
    wait_until(lambda: not any(map(lives, pids)))
