"""SIGKILL at every step and at random moments: what is left verifies, and the next run works."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mmtrt.artifacts.lookup import Hit
from mmtrt.artifacts.store import Store
from tests.artifacts.filling import age, fill, key, publish, replace_in_os, stage, write

# Python 3.12 and later warn of forks with BLAKE3's idle threads around; hash_file minds them.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")

STEPS = (
    *("open", "mkdir", "rename", "unlink", "rmdir", "chmod", "fsync", "write", "scandir", "utime"),
    *("close", "listdir", "ftruncate", "pwrite"),
)
"""Functions of ``os`` that change or read the store; a process dies right before one of them."""


def die_at(step: int, work: Callable[[], object]) -> bool:
    """Run in a fork that is killed before its ``step``-th system call; return whether it was."""
    child = os.fork()
    if not child:
        count = [0]

        def guarded(function: Callable[..., object]) -> Callable[..., object]:
            def call(*args: object, **options: object) -> object:
                count[0] += 1
                if count[0] == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*args, **options)

            return call

        import fcntl

        for name in STEPS:
            replace_in_os(name, guarded(getattr(os, name)))
        fcntl.flock = guarded(fcntl.flock)  # type: ignore[assignment]
        try:
            work()
        except BaseException:  # noqa: BLE001 - a fork must not return into pytest
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def is_sound(store: Store) -> bool:
    """Nothing is wrong with any artifact; the remains of the dead may lie about."""
    return not [problem for problem in store.verify() if problem.severity == "error"]


def is_clean(store: Store) -> bool:
    """Not even remains of the dead lie about."""
    staging = store.root / ".staging"
    return not list(store.verify()) and not (staging.exists() and any(staging.iterdir()))


def build(store: Store) -> None:
    with store.lock("convert", key()):
        if isinstance(store.find("convert", key()), Hit):
            return
        fill(store)


def replace_damaged(store: Store) -> None:
    build(store)


def force(store: Store) -> None:
    staging = stage(store)
    write(staging.path, {"forced": b"x"})
    publish(store, staging, replaces=True)


def fail(store: Store) -> None:
    for _ in range(2):
        staging = stage(store)
        write(staging.path, {"half": b"x"})
        store.abandon(staging, {"exit_code": 1})


def remove(store: Store) -> None:
    store.remove(next(store.artifacts()))


def collect(store: Store) -> None:
    store.gc()


def use(store: Store) -> None:
    store.mark_used(next(store.artifacts()))
    store.sweep()


def nothing(store: Store) -> None:
    pass


def intact(store: Store) -> None:
    fill(store)


def damaged(store: Store) -> None:
    age(fill(store).path / "config.json", 60)


@pytest.mark.parametrize(
    ("before", "work"),
    [
        (nothing, build),
        (damaged, replace_damaged),
        (intact, force),
        (nothing, fail),
        (intact, remove),
        (intact, collect),
        (intact, use),
    ],
)
def test_at_every_step(
    tmp_path: Path, before: Callable[[Store], None], work: Callable[[Store], None]
) -> None:
    step = 0
    was_killed = True
    while was_killed:
        step += 1
        store = Store(tmp_path / f"{step}")
        before(store)
        was_killed = die_at(step, lambda: work(store))  # noqa: B023 - done within the turn
        if before is damaged and not isinstance(store.find("convert", key()), Hit):
            # Still damaged, or gone; never half replaced. The next run makes it whole.
            build(store)
        assert is_sound(store)
        store.sweep()
        build(store)
        assert isinstance(store.find("convert", key()), Hit)
        assert is_clean(store)
    assert step > 5, "the steps were not counted"


RUN = """
import os, sys, time
from pathlib import Path
from mmtrt.artifacts.store import Hit, Store
from tests.artifacts.filling import age, fill, key, publish, stage, write
store = Store(Path(sys.argv[1]))
print("ready", flush=True)
seed = int(sys.argv[2])
for number in range(seed, seed + 1000):
    with store.lock("convert", key(number)):
        fill(store, number, {"a": b"x" * 3_000_000, "sub/b": b"y" * 100, "c": b""})
    if number % 2:
        store.remove(next(store.artifacts()))
    if number % 5 == 0:
        store.abandon(stage(store, number), {"exit_code": 1})
    if number % 7 == 0:
        store.sweep()
"""


def test_at_random_moments(store: Store) -> None:
    dice = random.Random(20260102)
    for turn in range(20):
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(store.root), str(turn * 1000)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.stdout.close()
        time.sleep(dice.random() * 0.12)
        process.kill()
        process.wait()
        assert is_sound(store)
        for artifact in store.artifacts():
            assert isinstance(store.find(artifact.kind, artifact.key), Hit)
        fill(store, f"after {turn}")
    store.sweep()
    assert is_clean(store)
    assert len(list(store.artifacts())) >= 20
