from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mmtrt.artifacts.locks import KeyLock, is_free, remove_if_free, take
from mmtrt.artifacts.store import Store
from mmtrt.errors import ArtifactError
from tests.artifacts.filling import key
from tests.waiting import LIMIT_S

# Python 3.12 and later warn of forks with BLAKE3's idle threads around; hash_file minds them.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")

HOLD = """
import sys, time
from pathlib import Path
from mmtrt.artifacts.locks import KeyLock
lock = KeyLock(Path(sys.argv[1]))
assert lock.try_acquire()
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "locks/x.lock"


def hold_elsewhere(place: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(place)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    process.stdout.close()
    return process


def test_one_at_a_time(place: Path) -> None:
    one, two = KeyLock(place), KeyLock(place)
    assert one.try_acquire() and one.try_acquire()
    assert not two.try_acquire()
    one.release()
    assert two.try_acquire() and not one.is_held
    two.release()
    two.release()


def test_nothing_is_left_behind(place: Path) -> None:
    with KeyLock(place):
        assert place.exists()
    assert list(place.parent.iterdir()) == []


def test_tells_who_holds_it(place: Path) -> None:
    lock = KeyLock(place)
    assert lock.holder() is None
    lock.try_acquire()
    holder = KeyLock(place).holder()
    assert holder is not None
    assert (holder["pid"], holder["host"]) == (os.getpid(), os.uname().nodename)
    assert holder["since"][:2] == "20"
    lock.release()
    assert KeyLock(place).holder() is None


def test_a_holder_without_a_name_is_a_holder(place: Path) -> None:
    lock = KeyLock(place)
    lock.try_acquire()
    place.write_text("{garbled")
    assert lock.holder() == {"pid": None, "host": None, "since": None}
    lock.release()


def test_the_lock_dies_with_its_holder(place: Path) -> None:
    process = hold_elsewhere(place)
    lock = KeyLock(place)
    assert not lock.try_acquire()
    holder = lock.holder()
    assert holder is not None and holder["pid"] == process.pid
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert place.exists()
    assert lock.holder() is None
    assert lock.try_acquire()
    lock.release()


def test_waiting_ends_when_the_holder_dies(place: Path) -> None:
    process = hold_elsewhere(place)
    lock = KeyLock(place)
    assert not lock.acquire(timeout_s=0)
    threading.Timer(0.2, process.kill).start()
    assert lock.acquire(timeout_s=LIMIT_S)
    assert process.wait() == -signal.SIGKILL
    lock.release()


def test_waiting_has_an_end(place: Path) -> None:
    with KeyLock(place):
        assert not KeyLock(place).acquire(timeout_s=0.1)


def test_a_lock_file_that_was_replaced_is_not_the_lock(place: Path) -> None:
    # Two processes open the file; the first locks and deletes it; the second must not go on.
    place.parent.mkdir()
    late = os.open(place, os.O_RDWR | os.O_CREAT)
    lock = KeyLock(place)
    lock.try_acquire()
    lock.release()
    fcntl.flock(late, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert lock.try_acquire()
    assert not KeyLock(place).try_acquire()
    os.close(late)
    lock.release()


def test_many_processes_never_hold_it_together(place: Path, tmp_path: Path) -> None:
    code = """
import os, sys
from pathlib import Path
from mmtrt.artifacts import locks
locks._POLL_S = 0.0005
witness = sys.argv[2]
for _ in range(40):
    with locks.KeyLock(Path(sys.argv[1])):
        os.close(os.open(witness, os.O_CREAT | os.O_EXCL))  # fails if another one is inside
        os.unlink(witness)
"""
    command = [sys.executable, "-c", code, str(place), str(tmp_path / "witness")]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate(timeout=LIMIT_S)[1] for process in running] == [""] * 4
    assert [process.returncode for process in running] == [0] * 4


def test_a_fork_has_no_part_in_it(place: Path) -> None:
    lock = KeyLock(place)
    lock.try_acquire()
    child = os.fork()
    if not child:
        held = lock.is_held
        lock.release()  # must not delete its parent's file
        os._exit(int(held or not place.exists()))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert lock.is_held and not KeyLock(place).try_acquire()
    lock.release()


def test_a_started_program_does_not_keep_it(place: Path) -> None:
    lock = KeyLock(place)
    lock.try_acquire()
    process = subprocess.Popen(["sleep", "600"], close_fds=False)
    lock.release()
    assert lock.try_acquire()
    lock.release()
    process.kill()
    process.wait()


def test_another_users_lock_file_can_be_taken(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place.parent.mkdir()
    place.write_text("")
    real = os.open

    def refuse_writing(path: object, flags: int, *more: int) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, flags, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refuse_writing)
    assert KeyLock(place).try_acquire()
    place.unlink()
    with pytest.raises(ArtifactError) as caught:
        KeyLock(place).try_acquire()
    assert caught.value.code == "ART153"


def test_a_file_system_without_locks(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, how: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(ArtifactError) as caught:
        KeyLock(place).try_acquire()
    assert caught.value.code == "ART155"


def test_shared_holds_exclude_only_exclusive_ones(tmp_path: Path) -> None:
    place = tmp_path / "x"
    place.write_text("")
    one, two = take(place, shared=True), take(place, shared=True)
    assert one and two
    assert take(place) is None
    one.let_go()
    assert take(place) is None
    two.let_go()
    two.let_go()
    with take(place) or pytest.fail("taken") as hold:
        assert hold.is_alive
        assert not is_free(place)
    assert is_free(place) and is_free(tmp_path / "nothing")


def test_only_a_free_file_is_removed(tmp_path: Path) -> None:
    place = tmp_path / "x"
    assert not remove_if_free(place)
    hold = take(place)
    assert hold is not None
    assert not remove_if_free(place)
    hold.let_go()
    assert remove_if_free(place)
    assert not place.exists()


def test_the_store_keeps_locks_apart_by_kind_and_key(store: Store) -> None:
    with store.lock("convert", key(1)):
        assert store.lock("convert", key(2)).try_acquire()
        assert store.lock("build", key(1)).try_acquire()
        assert not store.lock("convert", key(1)).try_acquire()
