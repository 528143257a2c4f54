"""One fake run and, for what only real files show, one real one, for all tests of this package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.demo_home import built_home, copy_store
from tests.worlds import ROOT


def mmtrt(*words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mmtrt", *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
    )


@pytest.fixture(scope="session")
def fake_home(tmp_path_factory) -> Path:
    """Return a directory with one run of the fake toolchain."""
    home = tmp_path_factory.mktemp("fake")
    done = mmtrt("recipe=llava_next", "backend=fake", cwd=home)
    assert done.returncode == 0, done.stderr
    return home


@pytest.fixture(scope="session")
def real_home(tmp_path_factory) -> Path:
    """Return a copy of the home of the tiny LLaVA, as if it had been built there."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("torch")
    source, home = built_home(tmp_path_factory), tmp_path_factory.mktemp("real")
    first = min((source / "outputs/runs").iterdir())
    copy_store(source, home, symlinks=False)
    shutil.copytree(first, home / "outputs/runs" / first.name)
    for path in (home / "outputs/runs" / first.name).iterdir():
        path.write_text(path.read_text().replace(str(source), str(home)))
    return home
