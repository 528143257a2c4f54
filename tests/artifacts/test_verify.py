from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mmtrt.artifacts import verify as verify_module
from mmtrt.artifacts.digest import hash_file
from mmtrt.artifacts.lookup import Artifact
from mmtrt.artifacts.store import Store
from mmtrt.errors import ArtifactError
from tests.artifacts.filling import age, fill, key, overwrite, publish, stage, tamper, write


def codes(store: Store, **options: str) -> list[str]:
    return [problem.code for problem in store.verify(**options)]  # type: ignore[arg-type]


def test_an_intact_store(store: Store) -> None:
    assert codes(store) == []
    for number in range(3):
        fill(store, number)
    store.mark_used(next(store.artifacts()))
    (store.root / ".memo.sqlite-journal").write_text("")
    assert codes(store) == []
    assert list(store.verify(jobs=1)) == []


def edit(artifact: Artifact, old: str, new: str) -> None:
    path = artifact.directory / "manifest.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


TAMPERING: dict[str, tuple[Callable[[Artifact], object], str, str, str]] = {
    "content of the same size and time": (
        lambda a: tamper(a.path / "weights/model.bin", b"w" * 4999 + b"W"),
        "ART172",
        "tiny/weights/model.bin",
        "weights/model.bin has another content than recorded",
    ),
    "size": (
        lambda a: overwrite(a.path / "config.json", b"{ }"),
        "ART171",
        "tiny/config.json",
        "config.json has 3 bytes instead of 2",
    ),
    "time": (
        lambda a: age(a.path / "config.json", 60),
        "ART171",
        "tiny/config.json",
        "config.json has the recorded content, but another time",
    ),
    "missing": (
        lambda a: (a.path / "config.json").unlink(),
        "ART170",
        "tiny/config.json",
        "config.json is missing",
    ),
    "added": (
        lambda a: (a.path / "rank1\n.engine").write_text(""),
        "ART175",
        "tiny/rank1\n.engine",
        r"rank1\n.engine is in no manifest",
    ),
    "directory in the place of a file": (
        lambda a: ((a.path / "config.json").unlink(), (a.path / "config.json").mkdir()),
        "ART171",
        "tiny/config.json",
        "config.json has 4096 bytes instead of 2",
    ),
    "link added": (
        lambda a: (a.path / "all").symlink_to("weights"),
        "ART175",
        "tiny/all",
        "all is in no manifest",
    ),
    "key document": (
        lambda a: edit(a, '"number":0', '"number":1'),
        "ART174",
        "manifest.json",
        "the key is not that of the key document",
    ),
    "digest of the whole": (
        lambda a: edit(a, a.manifest.digest, "0" * 64),
        "ART173",
        "manifest.json",
        "the digest of the artifact is not that of its list of files",
    ),
    "no manifest": (
        lambda a: (a.directory / "manifest.json").unlink(),
        "ART141",
        "manifest.json",
        "the manifest is missing: an artifact without manifest is not complete",
    ),
}


@pytest.mark.parametrize("how", TAMPERING)
def test_tampering_is_found(store: Store, how: str) -> None:
    spoil, code, where, message = TAMPERING[how]
    artifact = fill(store)
    fill(store, "intact")
    spoil(artifact)
    (problem,) = store.verify()
    assert (problem.code, problem.message) == (code, message)
    assert problem.path == artifact.directory / where
    # A store that was copied without times is as good as it was.
    severity = "info" if how == "time" else "error"
    assert (problem.kind, problem.key, problem.severity) == ("convert", key(), severity)


def test_a_listed_digest_that_was_changed_with_the_file_is_found(store: Store) -> None:
    # Whoever edits a file and its row must also edit the digest of the whole...
    artifact = fill(store)
    tamper(artifact.path / "weights/model.bin", b"W" * 5000)
    old = next(e.digest for e in artifact.manifest.files if e.size == 5000)
    edit(artifact, old, hash_file(artifact.path / "weights/model.bin"))
    assert codes(store) == ["ART173"]


def test_an_artifact_that_was_moved_to_another_key_is_found(store: Store) -> None:
    fill(store).directory.rename(store.root / "convert" / key(1))
    assert codes(store) == ["ART141"]


def test_all_problems_are_told(store: Store) -> None:
    artifact = fill(store, files={f"{number}": b"x" for number in range(5)})
    for number in range(5):
        tamper(artifact.path / f"{number}", b"y")
    (fill(store, 1).path / "config.json").unlink()
    assert sorted(codes(store)) == ["ART170"] + ["ART172"] * 5
    assert sorted(codes(store, kind="build")) == []


def test_a_newer_mmtrts_artifact_is_left_alone(store: Store) -> None:
    edit(fill(store), '"schema":1,\n', '"schema":2,\n')
    (problem,) = store.verify()
    assert (problem.code, problem.severity) == ("ART140", "info")


def test_what_cannot_be_read_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store)

    def refuse(path: str) -> str:
        raise ArtifactError("the disk hums", code="ART154")

    monkeypatch.setattr(verify_module, "hash_file", refuse)
    assert codes(store) == ["ART178", "ART178"]


def test_hard_links_are_read_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    one = fill(store, 1, {"x": b"x" * 100})
    staging = stage(store, 2)
    (staging.path / "y").hardlink_to(one.path / "x")
    publish(store, staging, 2)
    read: list[str] = []
    real = verify_module.hash_file
    monkeypatch.setattr(verify_module, "hash_file", lambda path: read.append(path) or real(path))
    assert codes(store) == []
    assert len(read) == 1


def test_an_artifact_that_is_removed_meanwhile_is_no_problem(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = fill(store)
    real = verify_module.hash_file

    def remove(path: str) -> str:
        if artifact.directory.exists():
            store.remove(artifact)
        return real(path)

    monkeypatch.setattr(verify_module, "hash_file", remove)
    assert codes(store) == []


def test_leftovers_are_told_and_harmless(store: Store) -> None:
    fill(store)
    write(store.root, {".staging/gone-1/tiny/x": b"", ".locks/gpu-1.lock": b"", "NOTES": b""})
    (store.root / ".locks" / f"convert-{key(1)}.lock").write_text("")
    (store.root / "convert/backup").mkdir()
    (next(store.artifacts()).directory / "note.txt").write_text("")
    (next(store.artifacts()).directory / ".alive").write_text("")
    with store.lock("convert", key(2)):
        problems = list(store.verify())
    assert {problem.severity for problem in problems} == {"info"}
    assert sorted((problem.code, problem.path.name) for problem in problems) == [
        ("ART175", "NOTES"),
        ("ART175", "backup"),
        ("ART175", "note.txt"),
        ("ART176", "gone-1"),
        ("ART177", f"convert-{key(1)}.lock"),
    ]


def test_verifying_changes_nothing(store: Store) -> None:
    fill(store)
    write(store.root, {".staging/gone-1/tiny/x": b""})
    before = {path: path.stat().st_mtime_ns for path in store.root.rglob("*")}
    list(store.verify())
    assert {path: path.stat().st_mtime_ns for path in store.root.rglob("*")} == before


def test_a_copy_that_keeps_times_verifies(store: Store, tmp_path: Path) -> None:
    fill(store)
    shutil.copytree(store.root, tmp_path / "copy")
    copy = Store(tmp_path / "copy")
    assert codes(copy) == []
    assert type(copy.find("convert", key())).__name__ == "Hit"


def test_it_can_be_run_while_others_build(store: Store) -> None:
    code = """
import sys
from pathlib import Path
from mmtrt.artifacts.store import Store
from tests.artifacts.filling import fill
store = Store(Path(sys.argv[1]))
for number in range(40):
    artifact = fill(store, number)
    if number % 3 == 0:
        store.remove(artifact)
"""
    builder = subprocess.Popen([sys.executable, "-c", code, str(store.root)], env={**os.environ})
    while builder.poll() is None:
        assert [p for p in store.verify() if p.severity == "error"] == []
    assert builder.returncode == 0
    assert codes(store) == []
