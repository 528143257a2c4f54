"""Where measurements are made: a work directory, the mmtrt under test, the peers."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks.peers import Peers
from benchmarks.timing import Process

ROOT = Path(__file__).parent.parent
TINY = ("recipe=llava", "variant=tiny")
"""The demo."""


@dataclass(frozen=True)
class Bench:
    """What every section needs."""

    work: Path
    """A directory that is empty at the start and deleted at the end."""
    peers: Peers
    rounds: int = 9
    """Repetitions of what takes less than a second."""
    stages: int = 200
    """Stages of the long graph."""
    hash_bytes: int = 2 << 30
    b3sum: str = "b3sum"

    def directory(self, name: str) -> Path:
        """Make a directory in the work directory."""
        path = self.work / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def mmtrt(
        self,
        *words: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdout: Path | None = None,
    ) -> Process:
        """Return a run of the installed ``mmtrt`` command, as a user starts it."""
        script = Path(sys.executable).with_name("mmtrt")
        argv = [str(script)] if script.exists() else [sys.executable, "-m", "mmtrt"]
        own = {"NO_COLOR": "1"}
        cwd = self.directory("empty") if cwd is None else cwd
        return Process([*argv, *words], cwd, {**own, **(env or {})}, stdout)

    def peer(self, name: str, *words: str, cwd: Path) -> Process | None:
        """Return a run of a peer, ``None`` if it is not installed."""
        tool = self.peers.tool(name)
        if tool is None:
            return None
        env = {
            "PATH": f"{tool.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "DVC_NO_ANALYTICS": "1",  # nobody is to be told, and it would cost them time
            "DVC_SITE_CACHE_DIR": str(self.work / "dvc-site"),
            "XDG_CACHE_HOME": str(self.work / "peers-cache"),
        }
        return Process([str(tool), *words], cwd, env)

    def python(self, *words: str, cwd: Path | None = None) -> Process:
        """Return a run of this interpreter that can import ``benchmarks``."""
        cwd = self.directory("empty") if cwd is None else cwd
        env = {"PYTHONPATH": str(ROOT)}
        return Process([sys.executable, *words], cwd, env)

    @cached_property
    def demo(self) -> Path:
        """A directory in which the demo has run: ``first.json`` tells how, the store is full."""
        directory = self.directory("demo")
        self.mmtrt(*TINY, "--json", cwd=directory, stdout=directory / "first.json")()
        return directory


def typed(process: Process) -> str:
    """Return a process as one would type it: without the directories of this machine."""
    words = [os.path.basename(word) if os.path.isabs(word) else word for word in process.argv]  # noqa: PTH117, PTH119 - strings, not places
    words[0] = "python" if words[0].startswith("python") else words[0]
    return shlex.join(words)
