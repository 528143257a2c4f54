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
from tests.executor.test_loop import no_leftovers, run, statuses
from tests.worlds import ROOT, World, world

KILLS = 20


def six_stages(store: Path) -> World:
    step = "sleep 0.05; head -c 200000 /dev/zero > $1/big; echo {0} > $1/out; cat $2/out >> $1/out"
    return world(
        store,
        ("a", "sleep 0.05; echo a > $1/out"),
        ("b", step.format("b"), ["a"]),
        ("c", step.format("c"), ["a"]),
        ("d", step.format("d"), ["b"]),
        ("e", step.format("e"), ["c"]),
        ("f", "cat $2/out $3/out > $1/out", ["d", "e"]),
    )


PROGRAM = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.executor.test_killed import six_stages
from tests.executor.test_loop import run
run(six_stages(Path({store!r})))
"""


def test_a_killed_run_leaves_a_store_that_verifies_and_goes_on(tmp_path):
    expected, _ = run(six_stages(tmp_path / "calm"))
    wanted = {name: artifact.manifest.digest for name, artifact in expected.artifacts.items()}
    chance = random.Random(7)
    interrupted = 0
    for number in range(KILLS):
        store = tmp_path / f"store{number}"
        program = PROGRAM.format(root=str(ROOT), store=str(store))
        process = subprocess.Popen(
            [sys.executable, "-c", program], start_new_session=True, stderr=subprocess.DEVNULL
        )
        # The clock starts with the first sign of the store, not with the interpreter.
        while not (store / ".staging").exists() and process.poll() is None:
            time.sleep(0.002)
        time.sleep(chance.uniform(0.0, 0.5))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert [p for p in Store(store).verify() if p.severity == "error"] == []
        result, _ = run(six_stages(store))
        interrupted += "done" in statuses(result).values()
        assert {n: a.manifest.digest for n, a in result.artifacts.items()} == wanted
        assert no_leftovers(store)
    assert interrupted >= KILLS // 3, "the kills came too late to mean anything"
