from __future__ import annotations

import contextlib
import importlib
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import mmtrt.tasks
from tests.waiting import LIMIT_S

from .hub_server import Hub, serve

ROOT = Path(mmtrt.tasks.__file__).resolve().parents[2]


@dataclass(frozen=True)
class Ended:
    """What a stage process left behind."""

    status: int
    stdout: str
    stderr: str

    def failed(self, code: str, status: int = 1) -> Ended:
        """Assert that it failed as a user should see it: one code, a fix, no traceback."""
        assert self.status == status, self.stderr
        assert f"error[{code}]: " in self.stderr, self.stderr
        assert "\n  fix: " in self.stderr, self.stderr
        assert "Traceback" not in self.stderr, self.stderr
        return self

    def done(self) -> Ended:
        """Assert that it succeeded."""
        assert self.status == 0, self.stderr
        return self


@dataclass(frozen=True)
class Stage:
    """Starts stages as the executor does: as processes with an environment of their own."""

    env: dict[str, str]

    def start(self, name: str, *flags: object, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", f"mmtrt.tasks.{name}", *map(str, flags)],
            env=self.env | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, name: str, *flags: object, **env: str) -> Ended:
        with self.start(name, *flags, **env) as process:
            stdout, stderr = process.communicate(timeout=LIMIT_S)
        return Ended(process.returncode, stdout, stderr)


def call(name: str, *flags: object) -> Ended:
    """Run a stage in this process: a tenth of a second sooner, for stages that ask no hub."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = importlib.import_module(f"mmtrt.tasks.{name}").main([str(f) for f in flags])
        except SystemExit as exit_:  # argparse
            status = int(str(exit_.code))
    return Ended(status, out.getvalue(), err.getvalue())


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A runner of stages without credentials, proxies or a shared cache."""
    foreign = ("HF_", "HUGGING", "TRANSFORMERS_")
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(foreign) and not name.lower().endswith("_proxy")
    }
    env |= {"PYTHONPATH": str(ROOT), "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
    return Stage(env)


@pytest.fixture
def hub(stage: Stage) -> Iterator[Hub]:
    """A hub on loopback that the stages of this test speak to."""
    with serve() as hub:
        stage.env["HF_ENDPOINT"] = hub.url
        yield hub


def tree(root: Path) -> dict[str, bytes]:
    """Return every file below a directory, links followed."""
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


HOSTILE = ["with space 'and' \"quotes\"", "ünï-日本", "a;b&c$(x) #%25", "-rf"]


@pytest.fixture(params=HOSTILE)
def hostile(request: pytest.FixtureRequest) -> str:
    """A name that breaks careless code."""
    return str(request.param)


@pytest.fixture
def other_file_system(tmp_path: Path) -> Iterator[Path]:
    """A directory that no hard link can reach from ``tmp_path``."""
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system")
    with tempfile.TemporaryDirectory(dir=shm) as place:
        yield Path(place)
