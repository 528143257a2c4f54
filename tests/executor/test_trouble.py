"""A store that cannot be written: read-only, full, or too small for the output."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mmtrt.artifacts.store import Store
from mmtrt.errors import ArtifactError
from mmtrt.executor.loop import execute
from mmtrt.rules.check import CheckedPlan
from tests.executor.test_loop import no_leftovers, run, statuses
from tests.worlds import ROOT, world

PROGRAM = """
import resource, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.executor.test_loop import run, statuses
from tests.worlds import world
w = world(Path({store!r}), ("a", {script!r}))
{before}
result, seen = run(w)
print(statuses(result)["a"], [f.message for f in result.failures])
"""


def run_limited(store: Path, script: str, before: str = "") -> str:
    program = PROGRAM.format(root=str(ROOT), store=str(store), script=script, before=before)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_output_over_the_file_size_limit_fails_and_leaves_nothing(tmp_path):
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))"
    limit += "; import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)"
    out = run_limited(tmp_path, "head -c 1000000 /dev/zero > $1/out", limit)
    assert out.startswith("failed"), out
    assert no_leftovers(tmp_path)
    result, _ = run(world(tmp_path, ("a", "head -c 1000000 /dev/zero > $1/out")))
    assert statuses(result) == {"a": "done"}


@pytest.fixture
def small_disk(tmp_path):
    """Mount a 1 MiB file system, where that is allowed."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("mounting needs root")
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting is not allowed here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_full_disk_fails_the_stage_and_the_store_still_verifies(small_disk):
    w = world(small_disk, ("ok", "echo x > $1/out"), ("big", "head -c 3000000 /dev/zero > $1/out"))
    result, _ = run(
        w,
    )
    assert statuses(result)["big"] == "failed"
    assert no_leftovers(small_disk)
    assert list(Store(small_disk).verify()) == []


@pytest.fixture
def read_only(tmp_path):
    """Return a store with one artifact, mounted read-only."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    source, place = tmp_path / "rw", tmp_path / "ro"
    place.mkdir()
    run(world(source, ("a", "echo x > $1/out")))
    for mount in (
        ["mount", "--bind", str(source), str(place)],
        ["mount", "-o", "remount,ro,bind", str(place)],
    ):
        if subprocess.run(mount, capture_output=True).returncode != 0:
            subprocess.run(["umount", "-l", str(place)], capture_output=True)
            pytest.skip("mounting is not allowed here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_read_only_store_serves_hits(read_only):
    result, _ = run(world(read_only, ("a", "echo x > $1/out")))
    assert statuses(result) == {"a": "hit"}


def test_read_only_store_refuses_to_build_with_a_clear_error(read_only):
    plan = world(read_only, ("b", "echo y > $1/out")).plan()
    with pytest.raises(ArtifactError) as caught:
        execute(CheckedPlan(plan, ()), Store(read_only))
    assert caught.value.exit_code == 1
    assert str(read_only) in caught.value.render()
    assert caught.value.fix
