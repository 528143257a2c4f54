from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mmtrt.artifacts.store as store_module
from mmtrt.artifacts.lookup import Hit, Miss
from mmtrt.artifacts.store import Store
from mmtrt.errors import ArtifactError
from tests.artifacts.filling import age, fill, key, replace_in_os, stage, write
from tests.calls import calls_of


def test_public_names_are_there() -> None:
    for name in store_module.__all__:
        assert getattr(store_module, name)


def test_a_run_of_hits_imports_nothing_heavy(store: Store) -> None:
    fill(store)
    code = """
import sys
from pathlib import Path
from mmtrt.artifacts.keys import key_of
from mmtrt.artifacts.store import Hit, Store
store = Store(Path(sys.argv[1]))
found = store.find("convert", sys.argv[2])
assert isinstance(found, Hit)
key_of({"inputs": found.artifact.digest("weights")})
store.mark_used(found.artifact)
list(store.newest("convert"))
heavy = {"blake3", "sqlite3", "threading", "shutil", "tempfile", "socket", "concurrent.futures"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(store.root), key()], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_finding_reads_the_manifest_and_asks_once_for_each_file(store: Store) -> None:
    spent = {}
    for files in (10, 110):
        fill(store, files, {f"{number}": b"x" for number in range(files)})
        counts = calls_of(lambda: store.find("convert", key(files)))  # noqa: B023 - called at once
        assert isinstance(store.find("convert", key(files)), Hit)
        assert (counts["open"], counts["stat"]) == (1, files)
        assert not {"lstat", "scandir", "listdir", "hash_file"} & counts.keys()
        spent[files] = counts.total()
    # Four calls a file, twelve for its share of the digest of the whole, and a hundred for the
    # rest; benchmarks/test_store.py tells the time.
    assert spent[110] - spent[10] <= 100 * 20
    assert spent[10] < 500


class TestArtifacts:
    def test_come_sorted(self, store: Store) -> None:
        assert list(store.artifacts()) == []
        made = [fill(store, number, kind=kind) for number in range(3) for kind in ("run", "build")]
        expected = sorted(made, key=lambda artifact: artifact.directory)
        assert list(store.artifacts()) == expected
        assert [each.kind for each in store.artifacts("run")] == ["run"] * 3
        assert list(store.artifacts("nope")) == []

    def test_leave_out_what_cannot_be_read_and_say_so(
        self, store: Store, caplog: pytest.LogCaptureFixture
    ) -> None:
        good, bad = fill(store, 1), fill(store, 2)
        (bad.directory / "manifest.json").write_text("{")
        (store.root / "convert/notes").mkdir()
        (store.root / "README").write_text("")
        reported: list[tuple[Path, str]] = []
        assert list(store.artifacts(report=lambda *each: reported.append(each))) == [good]
        assert [place for place, _ in reported] == [bad.directory]
        assert "it is not JSON" in reported[0][1]
        with caplog.at_level(logging.WARNING):
            assert list(store.artifacts()) == [good]
        assert str(bad.directory) in caplog.text

    def test_newest_first(self, store: Store) -> None:
        for number in (1, 2, 3):
            age(fill(store, number).directory / "manifest.json", 100 - number)
        fill(store, 4, name="other")
        (fill(store, 5).directory / "manifest.json").write_text("{")
        assert [each.key for each in store.newest("convert", "tiny")] == [key(3), key(2), key(1)]
        assert next(store.newest("convert")).key == key(4)
        assert list(store.newest("build")) == []


class TestUse:
    def test_is_recorded(self, store: Store) -> None:
        artifact = fill(store)
        used = artifact.directory / ".used"
        store.mark_used(artifact)
        age(used, 100)
        store.mark_used(artifact)
        assert time.time() - used.stat().st_mtime < 50
        assert list(store.verify()) == []

    def test_cannot_fail(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        artifact = fill(store)

        def refuse(*_: object, **__: object) -> None:
            raise OSError(30, "Read-only file system")

        monkeypatch.setattr(os, "utime", refuse)
        monkeypatch.setattr(os, "open", refuse)
        store.mark_used(artifact)
        monkeypatch.undo()
        shutil.rmtree(artifact.directory)
        store.mark_used(artifact)


class TestRemove:
    def test_takes_all_of_it(self, store: Store) -> None:
        one, two = fill(store, 1), fill(store, 2)
        (one.path / "weights").chmod(0o500)
        store.remove(one)
        store.remove(one)
        assert store.find("convert", key(1)) == Miss()
        assert list(store.artifacts()) == [two]
        assert list((store.root / ".staging").iterdir()) == []
        assert list(store.verify()) == []

    def test_is_one_step(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        artifact = fill(store)

        def die(place: Path) -> None:
            assert store.find("convert", key()) == Miss()
            assert not artifact.directory.exists()
            raise KeyboardInterrupt

        monkeypatch.setattr(store_module, "remove_tree", die)
        with pytest.raises(KeyboardInterrupt):
            store.remove(artifact)
        assert [problem.code for problem in store.verify()] == ["ART176"]
        assert len(store.sweep()) == 1

    def test_a_pinned_one_stays(self, store: Store) -> None:
        artifact = fill(store)
        with store.pin(artifact), store.pin(artifact):
            with pytest.raises(ArtifactError) as caught:
                store.remove(artifact)
            assert caught.value.code == "ART167"
            assert store.find("convert", key()) == Hit(artifact)
        store.remove(artifact)
        with pytest.raises(ArtifactError) as caught:
            store.pin(artifact)
        assert caught.value.code == "ART167"


class TestLocalDigest:
    def test_is_that_of_the_artifact_it_becomes(self, store: Store, tmp_path: Path) -> None:
        write(tmp_path / "model", {"config.json": b"{}", "sub/w.bin": b"1"})
        artifact = fill(store, files={"config.json": b"{}", "sub/w.bin": b"1"})
        assert store.local_digest(tmp_path / "model") == artifact.digest()
        assert store.local_digest(tmp_path / "model/sub") == artifact.digest("sub")
        assert store.local_digest(tmp_path / "model/sub/w.bin") == artifact.digest("sub/w.bin")

    def test_counts_what_is_selected(self, store: Store, tmp_path: Path) -> None:
        write(tmp_path / "model", {"config.json": b"{}", "w.bin": b"1", "sub/x": b"2"})
        whole = store.local_digest(tmp_path / "model")
        json_only = store.local_digest(tmp_path / "model", ("*.json",))
        assert json_only != whole
        assert store.local_digest(tmp_path / "model", (), ("w.bin", "sub/")) == json_only
        write(tmp_path / "model", {"w.bin": b"3"})
        assert store.local_digest(tmp_path / "model", ("*.json",)) == json_only
        assert store.local_digest(tmp_path / "model") != whole

    def test_of_nothing_is_an_error(self, store: Store, tmp_path: Path) -> None:
        write(tmp_path / "model", {"config.json": b"{}"})
        with pytest.raises(ArtifactError) as caught:
            store.local_digest(tmp_path / "model", ("*.bin",))
        assert (caught.value.code, caught.value.why) == (
            "ART142",
            "the patterns leave nothing of it",
        )
        with pytest.raises(ArtifactError) as caught:
            store.local_digest(tmp_path / "nothing")
        assert caught.value.code == "ART154"

    def test_planning_makes_no_store(self, store: Store, tmp_path: Path) -> None:
        write(tmp_path / "model", {"config.json": b"{}"})
        store.local_digest(tmp_path / "model")
        store.find("convert", key())
        list(store.newest("convert"))
        assert not store.root.exists()


class TestReadOnly:
    """As root, permissions stop nobody: these run in a mount namespace where that is possible."""

    CODE = """
import sys
from pathlib import Path
from mmtrt.artifacts.store import Hit, Miss, Store
from mmtrt.errors import ArtifactError
from tests.artifacts.filling import fill, key, stage
store = Store(Path(sys.argv[1]))
found = store.find("convert", key())
assert isinstance(found, Hit), found
store.mark_used(found.artifact)
store.pin(found.artifact).let_go()
assert store.sweep() == []
assert not [problem for problem in store.verify() if problem.severity == "error"]
assert len(store.local_digest(found.artifact.path)) == 64
assert store.lock("convert", key()).holder() is None
for attempt in (
    lambda: store.lock("convert", key()).try_acquire(),
    lambda: stage(store),
    lambda: store.remove(found.artifact),
    lambda: store.gc(),
):
    try:
        attempt()
    except ArtifactError as error:
        assert error.code in sys.argv[2:], error
        assert error.why and error.fix and error.at, error
    else:
        raise AssertionError(attempt)
assert isinstance(store.find("convert", key()), Hit)
print("well")
"""

    def test_mount(self, store: Store) -> None:
        fill(store)
        script = (
            'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && '
            'exec "$2" -c "$3" "$1" ART152'
        )
        if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
            pytest.skip("no mount namespaces here")
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", script, "sh", store.root, sys.executable, self.CODE],
            capture_output=True,
            text=True,
        )
        assert (done.stdout, done.stderr) == ("well\n", "")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")
    def test_permissions(self, store: Store) -> None:
        fill(store)
        for directory in [store.root, *(p for p in store.root.rglob("*") if p.is_dir())]:
            directory.chmod(0o555)
        done = subprocess.run(
            [sys.executable, "-c", self.CODE, store.root, "ART153"], capture_output=True, text=True
        )
        for directory in [store.root, *(p for p in store.root.rglob("*") if p.is_dir())]:
            directory.chmod(0o755)
        assert (done.stdout, done.stderr) == ("well\n", "")

    def test_simulated(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        artifact = fill(store)
        real = os.open

        def refuse(*_: object, **__: object) -> None:
            raise OSError(30, "Read-only file system")

        def refuse_writing(path: str, flags: int, *more: int) -> int:
            if flags & (os.O_RDWR | os.O_WRONLY | os.O_CREAT):
                refuse()
            return real(path, flags, *more)

        monkeypatch.setattr(os, "open", refuse_writing)
        for name in ("mkdir", "rename", "unlink", "utime"):
            replace_in_os(name, refuse, monkeypatch.setattr)
        assert store.find("convert", key()) == Hit(artifact)
        store.mark_used(artifact)
        assert store.sweep() == []
        for attempt in (
            lambda: stage(store),
            lambda: store.lock("convert", key(1)).try_acquire(),
            lambda: store.remove(artifact),
        ):
            with pytest.raises(ArtifactError) as caught:
                attempt()
            assert caught.value.code == "ART152"
        assert store.find("convert", key()) == Hit(artifact)


LIMITED = """
import resource, sys
from pathlib import Path
from mmtrt.artifacts.store import Miss, Store
from mmtrt.errors import ArtifactError
from tests.artifacts.filling import key, publish, stage, write
store = Store(Path(sys.argv[1]))
staging = stage(store)
write(staging.path, {f"{number}": b"x" for number in range(50)})
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    publish(store, staging)
except ArtifactError as error:
    assert error.code == "ART151", error
else:
    raise AssertionError
assert store.find("convert", key()) == Miss()
print(store.abandon(staging, {"exit_code": 0}) is not None)
"""


def test_a_limit_on_file_sizes_leaves_nothing_that_counts(store: Store) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(store.root)], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("True\n", "")
    assert list(store.verify()) == []
    assert store.find("convert", key()) == Miss()
    fill(store)
    assert list(store.verify()) == []


def test_a_full_disk_leaves_nothing_that_counts(store: Store) -> None:
    code = """
import sys
from pathlib import Path
from mmtrt.artifacts.store import Hit, Miss, Store
from mmtrt.errors import ArtifactError
from tests.artifacts.filling import fill, key, publish, stage, write
root = Path(sys.argv[1])
store = Store(root / "store")
fill(store, "before")
staging = stage(store)
write(staging.path, {f"{number}": b"x" for number in range(400)})  # a manifest of 50 kB
with open(root / "ballast", "wb", buffering=0) as ballast:
    try:
        while True:
            ballast.write(b"x" * 512)
    except OSError:
        pass
try:
    publish(store, staging)
except ArtifactError as error:
    assert error.code == "ART150", error
    assert "GiB left" in error.why and "mmtrt cache gc" in error.fix, error
else:
    raise AssertionError
store.abandon(staging, {"exit_code": 0})
assert store.find("convert", key()) == Miss()
assert isinstance(store.find("convert", key("before")), Hit)
(root / "ballast").unlink()
fill(store)
assert not list(store.verify())
print("well")
"""
    store.root.mkdir()
    script = 'mount -t tmpfs -o size=3m none "$1" && exec "$2" -c "$3" "$1"'
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", store.root, sys.executable, code],
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("well\n", "")


def test_failures_are_told_apart_by_kind_and_key(store: Store) -> None:
    store.abandon(stage(store, 1), {"exit_code": 1})
    assert store.failure("convert", key(2)) is None
    assert store.failure("build", key(1)) is None
    assert store.failure("convert", key(1)) is not None


def test_a_tree_digest_of_a_local_file_does_not_depend_on_its_name(
    store: Store, tmp_path: Path
) -> None:
    write(tmp_path, {"a.png": b"png", "b.png": b"png"})
    assert store.local_digest(tmp_path / "a.png") == store.local_digest(tmp_path / "b.png")
