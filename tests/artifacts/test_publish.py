from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mmtrt.artifacts import outputs
from mmtrt.artifacts import publish as publish_module
from mmtrt.artifacts.lookup import Hit, Miss
from mmtrt.artifacts.manifest import Manifest
from mmtrt.artifacts.store import Store
from mmtrt.errors import ArtifactError
from tests.artifacts.filling import (
    FIELDS,
    document,
    fill,
    key,
    overwrite,
    publish,
    replace_in_os,
    stage,
    tamper,
    write,
)
from tests.waiting import LIMIT_S


def everything(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))


def test_lays_the_artifact_out(store: Store) -> None:
    staging = stage(store)
    staging.stdout.write_text("out")
    staging.stderr.write_text("err")
    write(staging.path, {"a/b": b"1"})
    write(staging.directory, {"work/scratch": b"x" * 1000, "manifest.json": b"{", "exit.json": b""})
    artifact = publish(store, staging)
    assert everything(artifact.directory) == [
        "command.json",
        "manifest.json",
        "stderr.log",
        "stdout.log",
        "tiny",
        "tiny/a",
        "tiny/a/b",
    ]
    assert everything(store.root) == sorted(
        [".staging", "convert", f"convert/{key()}"]
        + [f"convert/{key()}/{path}" for path in everything(artifact.directory)]
    )
    assert json.loads(artifact.logs.command.read_text()) == FIELDS["command"]
    assert artifact.directory == staging.root / "convert" / key()


def test_writes_down_how_it_was_made(store: Store) -> None:
    artifact = fill(store)
    manifest = Manifest.read(artifact.directory / "manifest.json")
    assert manifest == artifact.manifest
    assert manifest.key_document == document()
    assert (manifest.kind, manifest.key, manifest.name) == ("convert", key(), "tiny")
    assert {name: getattr(manifest, name) for name in FIELDS} == FIELDS
    assert [entry.path for entry in manifest.files] == ["config.json", "weights/model.bin"]
    assert manifest.created.endswith("+00:00")


def test_odd_commands_cost_no_output(store: Store) -> None:
    staging = stage(store)
    write(staging.path, {"x": b""})
    command = {"argv": ["\udc80", Path("x"), float("nan")], "cwd": None, "env": {}}
    artifact = publish(store, staging, command=command, host={"ram": 1.5, 3: b"x"})
    assert artifact.manifest.command["argv"] == ["\\udc80", "x", "nan"]
    assert store.find("convert", key()) == Hit(artifact)


def test_a_second_one_of_the_key_is_dropped(store: Store) -> None:
    first = fill(store)
    again = fill(store, files={"other": b""})
    assert again == first
    assert not (first.path / "other").exists()
    assert list((store.root / ".staging").iterdir()) == []


def test_a_forced_one_replaces_it(store: Store) -> None:
    first = fill(store)
    staging = stage(store)
    write(staging.path, {"other": b""})
    again = publish(store, staging, replaces=True)
    assert again.digest() != first.digest()
    assert store.find("convert", key()) == Hit(again)
    assert not (first.path / "config.json").exists()
    assert list((store.root / ".staging").iterdir()) == []


def test_one_that_another_process_finished_meanwhile_wins(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = publish_module.rename_new
    others = [True]

    def be_late(directory: Path, place: Path) -> bool:
        if others:
            others.clear()
            fill(store, files={"theirs": b""})
        return real(directory, place)

    monkeypatch.setattr(publish_module, "rename_new", be_late)
    artifact = fill(store, files={"ours": b""})
    assert [entry.path for entry in artifact.manifest.files] == ["theirs"]
    assert store.find("convert", key()) == Hit(artifact)
    assert list(store.verify()) == []


def test_the_key_must_be_that_of_the_document(store: Store) -> None:
    staging = stage(store)
    write(staging.path, {"x": b""})
    with pytest.raises(ArtifactError) as caught:
        publish(store, staging, 2)
    assert caught.value.code == "ART144"
    assert staging.is_open


def test_what_cannot_be_kept_leaves_the_staging_directory_to_be_abandoned(store: Store) -> None:
    staging = stage(store)
    staging.stderr.write_text("why")
    os.mkfifo(staging.path / "pipe")
    with pytest.raises(ArtifactError) as caught:
        publish(store, staging)
    assert caught.value.code == "ART162"
    assert store.find("convert", key()) == Miss()
    kept = store.abandon(staging, {"exit_code": 0})
    assert kept is not None and (kept / "stderr.log").read_text() == "why"


def test_a_file_whose_time_moves_when_it_reaches_the_disk_is_recorded_anew(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = outputs.sync_all
    syncs = []

    def move_time(paths: list[str]) -> None:
        real(paths)
        syncs.append(paths)
        if len(syncs) == 1:
            (weights,) = (path for path in paths if path.endswith("model.bin"))
            os.utime(weights, (1000, 1000))

    monkeypatch.setattr(outputs, "sync_all", move_time)
    artifact = fill(store)
    assert len(syncs) == 2
    assert store.find("convert", key()) == Hit(artifact)
    assert list(store.verify()) == []


def test_a_file_that_somebody_keeps_writing_is_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_on(paths: list[str]) -> None:
        (weights,) = (path for path in paths if path.endswith("model.bin"))
        overwrite(Path(weights), os.urandom(10))

    monkeypatch.setattr(outputs, "sync_all", write_on)
    with pytest.raises(ArtifactError) as caught:
        fill(store)
    assert caught.value.code == "ART165"
    assert store.find("convert", key()) == Miss()


def test_everything_is_on_the_disk_before_the_rename(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What fsync saw, by inode, must include each file and directory at the time of the rename.
    synced: set[int] = set()
    seen: list[set[int]] = []
    fsync, rename = os.fsync, publish_module.rename_new

    def note_sync(descriptor: int) -> None:
        fsync(descriptor)
        synced.add(os.fstat(descriptor).st_ino)

    def note_rename(directory: Path, place: Path) -> bool:
        seen.append(set(synced))
        return rename(directory, place)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(publish_module, "rename_new", note_rename)
    artifact = fill(store)
    needed = [artifact.directory, artifact.directory / "manifest.json", artifact.path]
    needed += [*artifact.path.rglob("*")]
    assert {path.stat().st_ino for path in needed} <= seen[0]
    assert {store.root.stat().st_ino, (store.root / "convert").stat().st_ino} <= synced


BUILD = """
import json, sys, time
from pathlib import Path
from mmtrt.artifacts.store import Hit, Store
from tests.artifacts.filling import fill, key
store = Store(Path(sys.argv[1]))
if isinstance(store.find("convert", key()), Hit):
    print("hit at once"); sys.exit()
with store.lock("convert", key()):
    if isinstance(store.find("convert", key()), Hit):
        print("hit after waiting"); sys.exit()
    print("builds", flush=True)
    time.sleep(0.3)
    fill(store)
"""


def test_of_many_processes_one_builds_and_the_others_wait(store: Store) -> None:
    command = [sys.executable, "-c", BUILD, str(store.root)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = [process.communicate(timeout=LIMIT_S)[0].strip() for process in running]
    assert [process.returncode for process in running] == [0] * 4
    assert said.count("builds") == 1
    assert set(said) <= {"builds", "hit after waiting", "hit at once"}
    assert isinstance(store.find("convert", key()), Hit)


def test_builders_without_a_lock_do_no_harm(store: Store) -> None:
    code = """
import sys
from pathlib import Path
from mmtrt.artifacts.store import Store
from tests.artifacts.filling import fill
for number in range(15):
    fill(Store(Path(sys.argv[1])), number)
"""
    command = [sys.executable, "-c", code, str(store.root)]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate(timeout=LIMIT_S)[1] for process in running] == [""] * 3
    assert len(list(store.artifacts())) == 15
    assert list(store.verify()) == []


def test_builders_that_replace_a_damaged_one_at_once_do_no_harm(store: Store) -> None:
    tamper(fill(store).path / "config.json", b"[]")
    (store.root / "convert" / key() / "manifest.json").write_text("{")
    code = """
import sys
from pathlib import Path
from mmtrt.artifacts.store import Store
from tests.artifacts.filling import fill
fill(Store(Path(sys.argv[1])))
"""
    command = [sys.executable, "-c", code, str(store.root)]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate(timeout=LIMIT_S)[1] for process in running] == [""] * 4
    assert isinstance(store.find("convert", key()), Hit)
    store.sweep()
    assert list(store.verify()) == []


@pytest.mark.parametrize("number", [28, 122, 27, 30, 5])
def test_a_refusing_disk_leaves_nothing_that_counts(
    store: Store, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    # ENOSPC, EDQUOT, EFBIG, EROFS, EIO at every single write, sync, rename and mkdir in turn.
    fill(store, "warm-up")
    real: dict[str, Any] = {
        name: getattr(os, name) for name in ("write", "fsync", "rename", "mkdir")
    }
    for fatal in range(100):
        calls = []

        def refuse(name: str, *args: Any, **options: Any) -> Any:
            calls.append(name)  # noqa: B023 - of this turn
            if len(calls) == fatal + 1:  # noqa: B023 - of this turn
                raise OSError(number, os.strerror(number))
            return real[name](*args, **options)

        staging = stage(store, fatal)
        write(staging.path, {"x": b"1", "sub/y": b"2"})
        with monkeypatch.context() as patched:
            for name in real:
                replace_in_os(
                    name,
                    lambda *args, _name=name, **options: refuse(_name, *args, **options),
                    patched.setattr,
                )
            try:
                publish(store, staging, fatal)
            except ArtifactError as error:
                assert error.code in ("ART150", "ART151", "ART152", "ART154")
            else:
                break
        found = store.find("convert", key(fatal))
        # Only the sync of the parent comes after the rename; then the artifact is complete.
        assert found == Miss() or isinstance(found, Hit)
        store.abandon(staging, {"exit_code": 0})
        fill(store, fatal)
    assert fatal > 5
    assert [problem for problem in store.verify() if problem.severity == "error"] == []
    assert list((store.root / ".staging").iterdir()) == []
