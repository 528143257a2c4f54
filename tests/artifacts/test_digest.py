from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mmtrt.artifacts import digest
from mmtrt.artifacts.digest import DigestMemo, digest_tree, hash_file
from mmtrt.artifacts.manifest import FileEntry
from mmtrt.errors import ArtifactError
from tests.artifacts.filling import HOSTILE, age, write
from tests.waiting import LIMIT_S, wait_until

EMPTY = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
"""BLAKE3 of no bytes, from the specification."""


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were hashed, in order."""
    names: list[str] = []
    real = digest.hash_file

    def note(path: str | os.PathLike[str]) -> str:
        names.append(Path(path).name)
        return real(path)

    monkeypatch.setattr(digest, "hash_file", note)
    return names


YOUNG_NS = digest.YOUNG_NS


@pytest.fixture(autouse=True)
def nothing_is_young(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remember at once: nobody can give a file an old change time."""
    monkeypatch.setattr(digest, "YOUNG_NS", 0)


def tick(folder: Path, after_ns: int) -> None:
    """Wait until the clock of the file system has moved on."""

    def moved() -> bool:
        (folder / "tick").write_bytes(b"")
        return (folder / "tick").stat().st_ctime_ns > after_ns

    wait_until(moved)


def old(path: Path, content: bytes = b"old") -> Path:
    write(path.parent, {path.name: content})
    age(path, 60)
    return path


class TestHashFile:
    @pytest.mark.parametrize("size", [0, 1, 1023, 1025, 16384, 200_000, 3_000_001])
    def test_is_blake3(self, tmp_path: Path, size: int) -> None:
        from blake3 import blake3

        content = bytes(i * 7 % 251 for i in range(size))
        (tmp_path / "x").write_bytes(content)
        assert hash_file(tmp_path / "x") == blake3(content).hexdigest()

    def test_is_pinned(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_bytes(b"")
        assert hash_file(tmp_path / "x") == EMPTY

    def test_what_cannot_be_read(self, tmp_path: Path) -> None:
        with pytest.raises(ArtifactError, match="No such file") as caught:
            hash_file(tmp_path / "x")
        assert caught.value.code == "ART154"

    def test_a_fork_does_not_wait_for_threads_that_it_does_not_have(self, tmp_path: Path) -> None:
        code = """
import os, sys
from mmtrt.artifacts.digest import hash_file
assert hash_file(sys.argv[1])
child = os.fork()
if not child:
    os._exit(len(hash_file(sys.argv[1])))
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 64
"""
        (tmp_path / "x").write_bytes(os.urandom(4 << 20))
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "x")], check=True, timeout=LIMIT_S
        )


class TestMemo:
    def test_nothing_is_hashed_twice_while_nothing_changes(
        self, tmp_path: Path, hashed: list[str]
    ) -> None:
        files = [old(tmp_path / f"{name}.bin", name.encode()) for name in HOSTILE]
        first = [DigestMemo(tmp_path / "memo").digest(file) for file in files]
        assert hashed == [file.name for file in files]
        memo = DigestMemo(tmp_path / "memo")
        assert [memo.digest(file) for file in files * 2] == first * 2
        assert len(hashed) == len(files)

    def test_within_one_process_the_file_is_not_needed(
        self, tmp_path: Path, hashed: list[str]
    ) -> None:
        file = old(tmp_path / "x")
        memo = DigestMemo(None)
        assert memo.digest(file) == memo.digest(file)
        assert hashed == ["x"]

    def test_moving_a_file_keeps_its_digest(self, tmp_path: Path, hashed: list[str]) -> None:
        file = old(tmp_path / "x")
        memo = DigestMemo(tmp_path / "memo")
        memo.digest(file)
        changed = file.stat().st_ctime_ns
        file.rename(tmp_path / "y")
        memo.digest(tmp_path / "y")
        # Some file systems take a new name for a change.
        assert hashed == (["x"] if (tmp_path / "y").stat().st_ctime_ns == changed else ["x", "y"])

    @pytest.mark.parametrize(
        "replace",
        [
            lambda file: file.write_bytes(b"new"),
            lambda file: os.truncate(file, 0) or file.write_bytes(b"new"),
            lambda file: file.unlink() or file.write_bytes(b"new"),
            lambda file: (old(file.with_name("z"), b"new")).replace(file),
        ],
        ids=["in place", "cut", "same name", "renamed"],
    )
    def test_other_content_of_the_same_size_and_time_is_seen(
        self, tmp_path: Path, hashed: list[str], replace: Callable[[Path], object]
    ) -> None:
        # As `cp -p`, `rsync -t --inplace` and `tar` leave it.
        file = old(tmp_path / "x")
        memo = DigestMemo(tmp_path / "memo")
        before, status = memo.digest(file), file.stat()
        tick(tmp_path, status.st_ctime_ns)
        replace(file)
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert (file.stat().st_size, file.stat().st_mtime_ns) == (3, status.st_mtime_ns)
        assert memo.digest(file) == hash_file(file) != before
        assert DigestMemo(tmp_path / "memo").digest(file) != before

    def test_links_have_the_digest_of_what_they_lead_to(
        self, tmp_path: Path, hashed: list[str]
    ) -> None:
        file = old(tmp_path / "x")
        (tmp_path / "y").symlink_to("x")
        (tmp_path / "z").hardlink_to(file)  # before it is hashed: one more link changes its time
        memo = DigestMemo(tmp_path / "memo")
        assert len({memo.digest(tmp_path / name) for name in "xyz"}) == 1
        assert hashed == ["x"]

    @pytest.mark.parametrize("content", [b"new", b"longer"])
    def test_a_changed_file_is_hashed_again(
        self, tmp_path: Path, hashed: list[str], content: bytes
    ) -> None:
        file = old(tmp_path / "x", b"old")
        memo = DigestMemo(tmp_path / "memo")
        before = memo.digest(file)
        file.write_bytes(content)
        age(file, 30)
        assert memo.digest(file) == hash_file(file) != before
        assert DigestMemo(tmp_path / "memo").digest(file) != before
        assert hashed == ["x", "x"]

    @pytest.mark.parametrize("seconds", [0, 1, -3600])
    def test_a_young_file_is_not_remembered(
        self, tmp_path: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch, seconds: float
    ) -> None:
        # It can change again without its change time changing, whatever its other time says.
        file = old(tmp_path / "x")
        now = file.stat().st_ctime_ns + int(seconds * 1e9)
        monkeypatch.setattr(digest, "YOUNG_NS", YOUNG_NS)
        monkeypatch.setattr(digest.time, "time_ns", lambda: now)
        memo = DigestMemo(tmp_path / "memo")
        memo.digest(file)
        memo.digest(file)
        assert hashed == ["x", "x"]
        now += 2 * YOUNG_NS + int(abs(seconds) * 1e9)
        memo.digest(file)
        memo.digest(file)
        assert hashed == ["x", "x", "x"]

    def test_a_file_that_is_being_written_has_no_digest(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = old(tmp_path / "x")
        hashes = iter(range(10))

        def write_meanwhile(path: str | os.PathLike[str]) -> str:
            file.write_bytes(b"x" * next(hashes))
            return EMPTY

        monkeypatch.setattr(digest, "hash_file", write_meanwhile)
        memo = DigestMemo(tmp_path / "memo")
        with pytest.raises(ArtifactError) as caught:
            memo.digest(file)
        assert caught.value.code == "ART165"
        assert memo.lookup(file.stat()) is None

    def test_a_file_that_changed_once_gets_a_second_chance(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = old(tmp_path / "x")
        real = digest.hash_file
        first = [True]

        def write_once(path: str | os.PathLike[str]) -> str:
            result = real(path)
            if first.pop() if first else False:
                file.write_bytes(b"final")
            return result

        monkeypatch.setattr(digest, "hash_file", write_once)
        assert DigestMemo(None).digest(file) == real(file)


class TestMemoFile:
    def rows(self, memo: Path) -> int:
        connection = sqlite3.connect(memo)
        try:
            (count,) = connection.execute("SELECT count(*) FROM files").fetchone()
        finally:
            connection.close()
        return int(count)

    @pytest.mark.parametrize("garbage", [b"", b"not a database" * 100, b"SQLite format 3\0" * 99])
    def test_a_garbled_one_is_made_anew(
        self, tmp_path: Path, hashed: list[str], garbage: bytes
    ) -> None:
        file, place = old(tmp_path / "x"), tmp_path / "memo"
        place.write_bytes(garbage)
        memo = DigestMemo(place)
        assert memo.digest(file) == hash_file(file)
        memo.close()
        for _ in range(2):
            memo = DigestMemo(place)
            memo.digest(file)
            memo.close()
        assert self.rows(place) == 1
        assert len(hashed) <= 2

    def test_a_garbled_row_is_not_believed(self, tmp_path: Path, hashed: list[str]) -> None:
        file, place = old(tmp_path / "x"), tmp_path / "memo"
        memo = DigestMemo(place)
        memo.digest(file)
        memo.close()
        connection = sqlite3.connect(place)
        connection.execute("UPDATE files SET digest = 'short'")
        connection.commit()
        connection.close()
        assert DigestMemo(place).digest(file) == hash_file(file)
        assert hashed == ["x", "x"]

    def test_one_that_is_a_directory_is_done_without(self, tmp_path: Path) -> None:
        (tmp_path / "memo").mkdir()
        memo = DigestMemo(tmp_path / "memo")
        assert memo.digest(old(tmp_path / "x")) == hash_file(tmp_path / "x")
        memo.close()
        memo.close()

    def test_no_directory_is_made_for_a_little_hashing(self, tmp_path: Path) -> None:
        memo = DigestMemo(tmp_path / "store/memo")
        memo.digest(old(tmp_path / "x"))
        assert not (tmp_path / "store").exists()

    def test_one_is_made_for_much(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(digest, "_WORTH_BYTES", 3)
        memo = DigestMemo(tmp_path / "store/memo")
        memo.digest(old(tmp_path / "x"))
        memo.close()
        assert self.rows(tmp_path / "store/memo") == 1

    def test_what_waits_is_written_once_there_is_a_place(self, tmp_path: Path) -> None:
        memo = DigestMemo(tmp_path / "store/memo")
        memo.digest(old(tmp_path / "x"))
        (tmp_path / "store").mkdir()
        memo.digest(old(tmp_path / "y"))
        memo.close()
        assert self.rows(tmp_path / "store/memo") == 2

    def test_another_process_that_holds_it_is_not_waited_for_long(
        self, tmp_path: Path, hashed: list[str]
    ) -> None:
        file, place = old(tmp_path / "x"), tmp_path / "memo"
        DigestMemo(place).digest(old(tmp_path / "y"))
        holder = sqlite3.connect(place, isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        assert DigestMemo(place).digest(file) == hash_file(file)
        assert time.monotonic() - began < 60  # measured: 2 s
        holder.execute("COMMIT")
        holder.close()

    def test_a_database_that_may_only_be_read_is_read(
        self, tmp_path: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one, two, place = old(tmp_path / "x"), old(tmp_path / "y"), tmp_path / "memo"
        memo = DigestMemo(place)
        memo.digest(one)
        memo.close()
        real = sqlite3.connect

        def read_only(path: Path, **options: object) -> sqlite3.Connection:
            return real(f"file:{path}?mode=ro", uri=True, **options)  # type: ignore[call-overload,no-any-return]

        monkeypatch.setattr(sqlite3, "connect", read_only)
        memo = DigestMemo(place)
        assert memo.digest(two) == hash_file(two)
        assert memo.digest(one) == hash_file(one)
        assert hashed == ["x", "y"]

    def test_threads_share_a_memo(self, tmp_path: Path) -> None:
        files = [old(tmp_path / f"{number}", b"%d" % number) for number in range(40)]
        memo = DigestMemo(tmp_path / "memo")
        found: list[dict[str, str]] = []

        def digest_all() -> None:
            found.append({file.name: memo.digest(file) for file in files})

        threads = [threading.Thread(target=digest_all) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [{file.name: hash_file(file) for file in files}] * 4

    def test_processes_share_a_memo(self, tmp_path: Path, hashed: list[str]) -> None:
        files = [old(tmp_path / f"{number}", b"%d" % number) for number in range(20)]
        code = """
import sys
from pathlib import Path
from mmtrt.artifacts import digest
from mmtrt.artifacts.digest import DigestMemo
digest.YOUNG_NS = 0
memo = DigestMemo(Path(sys.argv[1]))
print(*[memo.digest(Path(file)) for file in sys.argv[2:]])
"""
        command = [sys.executable, "-c", code, str(tmp_path / "memo"), *map(str, files)]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
        outputs = {process.communicate(timeout=LIMIT_S)[0] for process in running}
        assert [process.returncode for process in running] == [0] * 4
        assert outputs == {" ".join(hash_file(file) for file in files) + "\n"}
        memo = DigestMemo(tmp_path / "memo")
        for file in files:
            memo.digest(file)
        assert hashed == []

    def test_huge_inode_numbers_fit(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        status: Any = SimpleNamespace(
            st_dev=2**63, st_ino=2**64 - 1, st_size=1, st_mtime_ns=2, st_ctime_ns=0
        )
        monkeypatch.setattr(digest, "_status", lambda file: status)
        monkeypatch.setattr(digest, "hash_file", lambda file: EMPTY)
        memo = DigestMemo(tmp_path / "memo")
        memo.digest(tmp_path / "x")
        memo.close()
        assert DigestMemo(tmp_path / "memo").lookup(status) == EMPTY


class TestDigestTree:
    def test_tells_path_size_time_and_digest(self, tmp_path: Path) -> None:
        root = tmp_path / "model"
        write(root, {"b/x": b"", "a": b"1"})
        (root / "a").chmod(0o755)
        (root / "link").symlink_to(root / "b")
        entries = digest_tree(root)
        assert list(entries) == ["a", "b/x", "link/x"]
        status = (root / "a").stat()
        assert entries["a"] == FileEntry("a", 1, status.st_mtime_ns, hash_file(root / "a"), True)
        assert entries["link/x"].digest == entries["b/x"].digest == EMPTY

    def test_asks_the_memo(self, tmp_path: Path, hashed: list[str]) -> None:
        root = tmp_path / "model"
        for name in ("a", "b"):
            old(root / name, name.encode())
        first = digest_tree(root, DigestMemo(tmp_path / "memo"))
        assert digest_tree(root, DigestMemo(tmp_path / "memo")) == first
        assert sorted(hashed) == ["a", "b"]

    def test_takes_what_is_wanted(self, tmp_path: Path) -> None:
        write(tmp_path, {"a.json": b"", "b.bin": b""})
        assert list(digest_tree(tmp_path, wants=lambda path: path.endswith(".bin"))) == ["b.bin"]

    def test_a_single_file_has_no_name(self, tmp_path: Path) -> None:
        write(tmp_path, {"image.png": b"png"})
        assert list(digest_tree(tmp_path / "image.png")) == [""]

    def test_large_files_are_hashed_in_threads(self, tmp_path: Path) -> None:
        write(tmp_path, {f"{number}.bin": bytes([number]) * 2_000_000 for number in range(6)})
        entries = digest_tree(tmp_path)
        assert {name: entry.digest for name, entry in entries.items()} == {
            f"{number}.bin": hash_file(tmp_path / f"{number}.bin") for number in range(6)
        }
