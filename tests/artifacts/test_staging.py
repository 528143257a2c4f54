from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mmtrt.artifacts import staging as staging_module
from mmtrt.artifacts.store import Store
from mmtrt.errors import ArtifactError
from tests.artifacts.filling import HOSTILE, fill, key, publish, stage, write
from tests.waiting import wait_until

# Python 3.12 and later warn of forks with BLAKE3's idle threads around; hash_file minds them.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


def left(store: Store) -> list[str]:
    return sorted(path.name for path in (store.root / ".staging").iterdir())


def test_is_laid_out_like_the_artifact(store: Store) -> None:
    staging = store.open_staging(
        "convert", key(), "tiny", {"argv": ["x", 1], "env": {"A": "\udc80"}}
    )
    assert staging.directory.parent == store.root / ".staging"
    assert staging.directory.name.startswith(f"convert-{key()[:16]}-")
    assert staging.path == staging.directory / "tiny"
    assert list(staging.path.iterdir()) == []
    assert staging.stdout == staging.directory / "stdout.log"
    assert staging.stderr == staging.directory / "stderr.log"
    assert json.loads(staging.command.read_text()) == {"argv": ["x", 1], "env": {"A": "\\udc80"}}


@pytest.mark.parametrize("name", HOSTILE)
def test_models_may_have_odd_names(store: Store, name: str) -> None:
    assert stage(store, name=name).path.is_dir()


@pytest.mark.parametrize("name", ["", "a/b", "..", "manifest.json", ".used"])
def test_but_not_every_name(store: Store, name: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        stage(store, name=name)
    assert caught.value.code == "ART144"
    assert not store.root.exists()


def test_two_can_be_open_for_one_key(store: Store) -> None:
    one, two = stage(store), stage(store)
    assert one.directory != two.directory


def test_leaving_the_block_deletes_what_was_not_published(store: Store) -> None:
    with stage(store) as staging:
        write(staging.path, {"half": b"x"})
    assert left(store) == []
    with stage(store) as staging:
        write(staging.path, {"whole": b"x"})
        artifact = publish(store, staging)
    assert (artifact.path / "whole").exists()
    assert left(store) == []


def test_abandoning_keeps_nothing_unless_asked(store: Store) -> None:
    staging = stage(store)
    assert store.abandon(staging) is None
    assert left(store) == [] and store.failure("convert", key()) is None
    assert store.abandon(staging) is None


def test_abandoning_can_keep_the_logs(store: Store) -> None:
    for attempt in ("first", "second"):
        staging = store.open_staging("convert", key(), "tiny", {"argv": [attempt]})
        staging.stdout.write_text(f"{attempt} out")
        staging.stderr.write_text(f"{attempt} err")
        write(staging.path, {"weights.bin": b"x" * 1000})
        (staging.directory / "work").mkdir()
        kept = store.abandon(staging, {"exit_code": 1, "status": attempt})
    assert kept == store.root / ".failed" / f"convert-{key()[:16]}"
    assert sorted(path.name for path in kept.iterdir()) == [
        "command.json",
        "exit.json",
        "stderr.log",
        "stdout.log",
    ]
    logs = store.failure("convert", key())
    assert logs is not None
    assert logs.stdout.read_text() == "second out"
    assert logs.stderr.read_text() == "second err"
    assert json.loads(logs.command.read_text()) == {"argv": ["second"]}
    assert json.loads(logs.exit.read_text()) == {"exit_code": 1, "status": "second"}
    assert left(store) == []
    assert type(store.find("convert", key())).__name__ == "Miss"
    assert list(store.artifacts()) == []


def test_a_full_disk_costs_the_logs_but_hides_no_failure(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging = stage(store)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    assert store.abandon(staging, {"exit_code": 1}) is None
    monkeypatch.undo()
    assert left(store) == []


def test_what_is_gone_cannot_be_used(store: Store) -> None:
    staging = stage(store)
    store.abandon(staging)
    with pytest.raises(ArtifactError) as caught:
        publish(store, staging)
    assert caught.value.code == "ART166"


DIE = """
import os, signal, sys
from pathlib import Path
from mmtrt.artifacts.store import Store
staging = Store(Path(sys.argv[1])).open_staging("convert", sys.argv[2], "tiny")
(staging.path / "sub").mkdir()
(staging.path / "sub/half").write_bytes(b"x")
(staging.path / "sub").chmod(0o500)
os.kill(os.getpid(), signal.SIGKILL)
"""


def die(store: Store) -> None:
    done = subprocess.run([sys.executable, "-c", DIE, str(store.root), key("dead")])
    assert done.returncode == -signal.SIGKILL


class TestSweep:
    def test_of_nothing(self, store: Store) -> None:
        assert store.sweep() == []
        assert not store.root.exists()

    def test_spares_the_living_and_buries_the_dead(self, store: Store) -> None:
        alive = stage(store)
        die(store)
        (store.root / ".staging/a file").write_text("")
        assert len(left(store)) == 3
        removed = store.sweep()
        assert len(removed) == 2
        assert left(store) == [alive.directory.name]
        write(alive.path, {"x": b""})
        publish(store, alive)
        assert store.sweep() == []

    def test_a_directory_without_a_lock_is_dead(self, store: Store) -> None:
        fill(store)
        (store.root / ".staging/gone-123/tiny").mkdir(parents=True)
        assert [path.name for path in staging_module.dead(store.root)] == ["gone-123"]
        assert [path.name for path in store.sweep()] == ["gone-123"]

    def test_removes_stale_locks_and_spares_others(self, store: Store) -> None:
        fill(store)
        locks = store.root / ".locks"
        locks.mkdir(exist_ok=True)
        stale = locks / f"convert-{key(1)}.lock"
        stale.write_text("{}")
        gpu = locks / "gpu-GPU-1234.lock"
        gpu.write_text("")
        with store.lock("convert", key(2)):
            assert store.sweep() == [stale]
            assert not store.lock("convert", key(2)).try_acquire()
        assert list(locks.iterdir()) == [gpu]

    def test_a_maker_that_a_sweep_overtakes_starts_again(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = staging_module.take
        sweeps = [True]

        def sweep_first(path: Path, **options: bool) -> object:
            if sweeps:
                sweeps.clear()  # between mkdir and lock, somebody sweeps
                assert len(store.sweep()) == 1
            return real(path, **options)

        monkeypatch.setattr(staging_module, "take", sweep_first)
        staging = stage(store)
        assert staging.path.is_dir() and left(store) == [staging.directory.name]

    def test_makers_and_sweepers_do_not_disturb_each_other(self, store: Store) -> None:
        stop = threading.Event()

        def sweep() -> None:
            while not stop.is_set():
                store.sweep()

        sweepers = [threading.Thread(target=sweep) for _ in range(2)]
        for sweeper in sweepers:
            sweeper.start()
        try:
            for number in range(40):
                fill(store, number, {"x": b"%d" % number})
        finally:
            stop.set()
            for sweeper in sweepers:
                sweeper.join()
        assert len(list(store.artifacts())) == 40
        assert list(store.verify()) == []

    def test_a_command_can_keep_the_directory_of_its_dead_maker(self, store: Store) -> None:
        code = """
import os, signal, subprocess, sys
from pathlib import Path
from mmtrt.artifacts.store import Store
staging = Store(Path(sys.argv[1])).open_staging("convert", sys.argv[2], "tiny")
process = subprocess.Popen(["sleep", "600"], pass_fds=[staging.fileno()])
print(process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
        reader, writer = os.pipe()
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(store.root), key()], stdout=writer
        )
        os.close(writer)
        command = int(os.read(reader, 100))
        os.close(reader)
        process.wait()
        try:
            assert store.sweep() == []
        finally:
            os.kill(command, signal.SIGKILL)
        wait_until(store.sweep)
        assert left(store) == []


def test_a_fork_does_not_delete_its_parents_work(store: Store) -> None:
    with stage(store) as staging:
        child = os.fork()
        if not child:
            staging.discard()
            os._exit(int(staging.is_open))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert staging.is_open and staging.path.is_dir()
