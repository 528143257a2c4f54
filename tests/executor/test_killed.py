"""SIGKILL at random moments of a run of shell stages: quick enough to do it often.

``tests/test_kill.py`` does the same to the real thing.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from mmtrt.artifacts.store import Store
from tests.executor.test_loop import no_leftovers, run, statuses, until
from tests.waiting import wait_until
from tests.worlds import ROOT, World, world

KILLS = 20


def six_stages(store: Path) -> World:
    """Return stages whose last one waits until the file :func:`gate` is there."""
    step = "sleep 0.05; head -c 200000 /dev/zero > $1/big; echo {0} > $1/out; cat $2/out >> $1/out"
    return world(
        store,
        ("a", "sleep 0.05; echo a > $1/out"),
        ("b", step.format("b"), ["a"]),
        ("c", step.format("c"), ["a"]),
        ("d", step.format("d"), ["b"]),
        ("e", step.format("e"), ["c"]),
        ("f", f"{until(gate(store))}; cat $2/out $3/out > $1/out", ["d", "e"]),
    )


def gate(store: Path) -> Path:
    return store.with_suffix(".gate")


PROGRAM = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.executor.test_killed import six_stages
from tests.executor.test_loop import run
run(six_stages(Path({store!r})))
"""


def test_a_killed_run_leaves_a_store_that_verifies_and_goes_on(tmp_path):
    gate(tmp_path / "calm").touch()
    expected, _ = run(six_stages(tmp_path / "calm"))
    wanted = {name: artifact.manifest.digest for name, artifact in expected.artifacts.items()}
    chance = random.Random(7)
    for number in range(KILLS):
        store = tmp_path / f"store{number}"
        # Every other run cannot come to its end before it is killed, however long that takes.
        is_open = number % 2 == 0
        if is_open:
            gate(store).touch()
        program = PROGRAM.format(root=str(ROOT), store=str(store))
        process = subprocess.Popen(
            [sys.executable, "-c", program], start_new_session=True, stderr=subprocess.DEVNULL
        )
        # The clock starts with the first sign of the store, not with the interpreter.
        wait_until((store / ".staging").exists, process)
        time.sleep(chance.uniform(0.0, 0.5))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert [p for p in Store(store).verify() if p.severity == "error"] == []
        gate(store).touch()
        result, _ = run(six_stages(store))
        assert is_open or "done" in statuses(result).values()
        assert {n: a.manifest.digest for n, a in result.artifacts.items()} == wanted
        assert no_leftovers(store)
