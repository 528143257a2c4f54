"""A directory in which the tiny LLaVA has been built: once a session, whatever worker asks."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TINY = ("recipe=llava", "variant=tiny")


def built_home(factory: pytest.TempPathFactory) -> Path:
    """Return the directory; ``first.txt`` holds what the first run printed."""
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    home = shared / "home with space"
    with (shared / "home.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "first.txt").exists():
            home.mkdir()
            first = subprocess.run(
                [sys.executable, "-m", "mmtrt", *TINY],
                capture_output=True,
                text=True,
                cwd=home,
                timeout=300,
            )
            assert first.returncode == 0, first.stderr
            (home / "first.txt").write_text(first.stdout + "\n---\n" + first.stderr)
    return home


def copy_store(home: Path, to: Path, *, symlinks: bool) -> None:
    """Copy what is finished in a store, while another worker may run something there."""
    passing = shutil.ignore_patterns(".staging", ".locks", ".memo*")
    source, target = home / "outputs/store", to / "outputs/store"
    shutil.copytree(source, target, symlinks=symlinks, ignore=passing)
