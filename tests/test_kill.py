"""SIGKILL at random moments of a cold run: the store verifies, the next run completes and agrees.

``make kill-test`` does it a hundred times; ``tests/executor/test_killed.py`` kills
shell stages.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.waiting import wait_until

pytest.importorskip("onnxruntime")
pytest.importorskip("torch")

KILLS = int(os.environ.get("MMTRT_KILLS", "1"))
pytestmark = pytest.mark.slow
OVERRIDES = ["recipe=llava", "variant=tiny"]


def command(root: Path, *words: str) -> list[str]:
    paths = [f"paths.store={root}/store", f"paths.runs={root}/runs"]
    return [sys.executable, "-m", "mmtrt", *words, *OVERRIDES, *paths]


def complete(root: Path) -> dict:
    done = subprocess.run(
        command(root, "run", "--json"), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def verify(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mmtrt", "cache", "verify", "--store", f"{root}/store"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def outcome(run: dict) -> dict:
    """Return what must agree: the key and content of every stage, and the answer."""
    stages = {}
    for stage in run["stages"]:
        manifest = json.loads((Path(stage["artifact"]).parent / "manifest.json").read_text())
        # The run stage measures time, so its bytes differ; its answer is compared instead.
        stages[stage["id"]] = (
            manifest["key"] if stage["kind"] == "run" else (manifest["key"], manifest["digest"])
        )
    return {"stages": stages, "requests": run["result"]["requests"]}


def processes_below(root: Path) -> list[str]:
    """Return command lines that still mention the store."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = place.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(root) in line:
            found.append(line)
    return found


@pytest.mark.timeout(KILLS * 120 + 300)
def test_killed_at_any_moment_the_store_verifies_and_the_next_run_agrees(tmp_path):
    began = time.monotonic()
    expected = outcome(complete(tmp_path / "calm"))
    length = time.monotonic() - began
    chance = random.Random(int(os.environ.get("MMTRT_KILL_SEED", "0")))
    for number in range(KILLS):
        root = tmp_path / f"killed{number}"
        process = subprocess.Popen(
            command(root, "run", "-q"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(chance.uniform(0.05, length))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        wait_until(lambda: not processes_below(root))  # noqa: B023 - no stage outlives its mmtrt
        verify(root)
        assert outcome(complete(root)) == expected
        verify(root)
        staging = root / "store" / ".staging"
        assert not staging.exists() or not any(staging.iterdir())
