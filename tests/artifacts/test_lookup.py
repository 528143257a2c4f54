from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mmtrt.artifacts.keys import key_of
from mmtrt.artifacts.lookup import Artifact, Damaged, Hit, Miss
from mmtrt.artifacts.manifest import tree_digest
from mmtrt.artifacts.store import Store
from mmtrt.errors import ArtifactCorrupt, ArtifactError
from tests.artifacts.filling import (
    FIELDS,
    FILES,
    HOSTILE,
    age,
    fill,
    key,
    overwrite,
    publish,
    stage,
    tamper,
)


def test_nothing_is_a_miss(store: Store) -> None:
    assert store.find("convert", key()) == Miss()
    fill(store, 1)
    assert store.find("convert", key(2)) == Miss()
    assert store.find("build", key(1)) == Miss()


def test_what_was_published_is_a_hit(store: Store) -> None:
    artifact = fill(store)
    assert store.find("convert", key()) == Hit(artifact)
    assert Store(store.root).find("convert", key()) == Hit(artifact)
    assert artifact.path == store.root / "convert" / key() / "tiny"
    assert (artifact.path / "weights/model.bin").read_bytes() == FILES["weights/model.bin"]
    assert artifact.logs.stdout.read_text() == "converting\n"


@pytest.mark.parametrize("name", HOSTILE)
def test_names_may_be_odd(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path / name)
    artifact = fill(store, name, {f"{name}/{name}": b"x"}, name=name)
    assert store.find("convert", key(name)) == Hit(artifact)
    assert artifact.digest(name) == tree_digest(artifact.manifest.files, name)
    assert list(store.verify()) == []


def test_a_relative_root_is_meant_from_where_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store(Path("store"))
    artifact = fill(store)
    monkeypatch.chdir("/")
    assert store.find("convert", key()) == Hit(artifact)
    assert artifact.path.is_absolute()


def test_digests_follow_the_content(store: Store) -> None:
    one, two = fill(store, 1), fill(store, 2)
    other = fill(store, 3, FILES | {"config.json": b"{ }"})
    assert one.digest() == two.digest() == one.manifest.digest != other.digest()
    assert one.digest("weights") == other.digest("weights")
    assert one.digest("config.json") != other.digest("config.json")
    assert one.digest(".") == one.digest()
    with pytest.raises(ArtifactError):
        one.digest("nope")


def rewrite(path: Path, change: Callable[[str], str]) -> None:
    path.write_text(change(path.read_text()))


DAMAGES: dict[str, tuple[Callable[[Artifact], object], str, str]] = {
    "missing file": (
        lambda a: (a.path / "config.json").unlink(),
        "tiny/config.json",
        "config.json is missing",
    ),
    "file in the place of a directory": (
        lambda a: (shutil.rmtree(a.path / "weights"), (a.path / "weights").write_text("")),
        "tiny/weights/model.bin",
        "weights/model.bin is missing",
    ),
    "missing directory": (
        lambda a: shutil.rmtree(a.path),
        "tiny/config.json",
        "config.json is missing",
    ),
    "other size": (
        lambda a: overwrite(a.path / "config.json", b"{ }"),
        "tiny/config.json",
        "config.json has 3 bytes instead of 2",
    ),
    "other content and time": (
        lambda a: (overwrite(a.path / "config.json", b"[]"), age(a.path / "config.json", 60)),
        "tiny/config.json",
        "config.json was changed after it was stored",
    ),
    "cut to nothing": (
        lambda a: overwrite(a.path / "weights/model.bin", b""),
        "tiny/weights/model.bin",
        "weights/model.bin has 0 bytes instead of 5000",
    ),
    "no manifest": (
        lambda a: (a.directory / "manifest.json").unlink(),
        "manifest.json",
        "manifest.json is missing",
    ),
    "empty manifest": (
        lambda a: (a.directory / "manifest.json").write_text(""),
        "manifest.json",
        "manifest.json is garbled: it is not JSON: Expecting value: line 1 column 1 (char 0)",
    ),
    "someone else's manifest": (
        lambda a: rewrite(a.directory / "manifest.json", lambda t: t.replace(a.key, "0" * 64)),
        "manifest.json",
        "manifest.json is that of another artifact",
    ),
    "a row of its manifest": (
        lambda a: rewrite(
            a.directory / "manifest.json", lambda t: t.replace('"path":"config.json"', '"path":"x"')
        ),
        "manifest.json",
        "the digest of the artifact is not that of its list of files",
    ),
    "a file in its place": (
        lambda a: (shutil.rmtree(a.directory), a.directory.write_text("")),
        "manifest.json",
        "manifest.json is missing",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_was_touched_is_damaged_and_is_replaced(store: Store, damage: str) -> None:
    spoil, where, problem = DAMAGES[damage]
    artifact = fill(store)
    spoil(artifact)
    assert store.find("convert", key()) == Damaged(artifact.directory / where, problem)
    assert isinstance(store.find("convert", key()), Damaged)
    again = fill(store)
    assert store.find("convert", key()) == Hit(again)
    assert list(store.verify()) == []
    assert list((store.root / ".staging").iterdir()) == []


def test_content_of_the_same_size_and_time_is_left_to_verify(store: Store) -> None:
    artifact = fill(store)
    tamper(artifact.path / "weights/model.bin", b"W" * 5000)
    assert isinstance(store.find("convert", key()), Hit)
    assert [problem.code for problem in store.verify()] == ["ART172"]


def test_what_verify_sets_aside_is_made_anew(store: Store) -> None:
    artifact, linked = fill(store), stage(store, 1, kind="assemble")
    (linked.path / "model.bin").hardlink_to(artifact.path / "weights/model.bin")
    assembled = publish(store, linked, 1, inputs=[artifact])
    tamper(artifact.path / "weights/model.bin", b"W" * 5000)
    damaged = {(each.kind, each.key) for each in store.verify() if each.severity == "error"}
    assert damaged == {("convert", key()), ("assemble", key(1))}
    with store.pin(artifact), pytest.raises(ArtifactError) as caught:
        store.set_aside(artifact.directory)
    assert caught.value.code == "ART167"
    for each in (artifact, assembled):
        assert store.set_aside(each.directory).parent == store.root / ".damaged"
        assert store.find(each.kind, each.key) == Miss()
    assert store.set_aside(artifact.directory) is None
    assert list(store.verify()) == []
    again = fill(store)
    assert store.find("convert", key()) == Hit(again)
    removed = store.gc(keep={("convert", key())})
    assert {row.kind for row in removed} == {".damaged"}
    assert list((store.root / ".damaged").iterdir()) == []


def test_a_store_that_was_copied_without_times_is_read_once(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    shutil.copytree(store.root, tmp_path / "copy", copy_function=shutil.copyfile)
    for path in (tmp_path / "copy").rglob("*"):
        age(path, 60)
    copy = Store(tmp_path / "copy")
    assert {(p.code, p.severity) for p in copy.verify()} == {("ART171", "info")}
    assert isinstance(copy.find("convert", key()), Hit)
    monkeypatch.setattr("mmtrt.artifacts.digest.hash_file", lambda path: pytest.fail("again"))
    assert isinstance(Store(copy.root).find("convert", key()), Hit)
    monkeypatch.undo()
    assert list(copy.verify()) == []


@pytest.mark.parametrize(
    ("include", "files", "fake", "is_hit"),
    [
        (["*.json", "*.safetensors"], ["config.json"], False, False),
        (["*.json", "*.safetensors"], ["config.json"], True, True),
        (["*.json", "*.safetensors"], ["config.json", "model.safetensors"], False, True),
        (["*.json", "tokenizer.model"], ["tokenizer.model"], False, True),
        ([], ["config.json"], False, True),
    ],
)
def test_a_download_without_the_weights_it_was_to_have_never_counts(
    store: Store, include: list[str], files: list[str], fake: bool, is_hit: bool
) -> None:
    words = ["python", "--repo-id", "owner/name", *(["--include", *include] if include else [])]
    wanted = {"schema": 1, "argv": words}
    staging = store.open_staging("download", key_of(wanted), "tiny")
    for name in files:
        (staging.path / name).write_bytes(b"x")
    store.publish(staging, key_document=wanted, **(FIELDS | {"fake": fake}))
    assert isinstance(store.find("download", key_of(wanted)), Hit if is_hit else Damaged)


def test_a_newer_mmtrts_artifact_is_neither_hit_nor_damaged(store: Store) -> None:
    artifact = fill(store)
    rewrite(
        artifact.directory / "manifest.json", lambda t: t.replace('"schema":1,\n', '"schema":9,\n')
    )
    for use in (lambda: store.find("convert", key()), lambda: fill(store)):
        with pytest.raises(ArtifactError) as caught:
            use()
        assert caught.value.code == "ART140"
        assert not isinstance(caught.value, ArtifactCorrupt)
    assert artifact.path.is_dir()


def test_a_linked_model_is_judged_by_what_the_links_lead_to(store: Store, tmp_path: Path) -> None:
    model = tmp_path / "model.bin"
    model.write_bytes(b"12345")
    staging = stage(store)
    (staging.path / "model.bin").symlink_to(model)
    artifact = publish(store, staging)
    assert store.find("convert", key()) == Hit(artifact)
    assert list(store.verify()) == []
    age(model, 60)
    then = model.stat().st_mtime_ns
    assert store.find("convert", key()) == Hit(artifact)
    assert model.stat().st_mtime_ns == then  # the user's own
    model.write_bytes(b"54321")
    assert isinstance(store.find("convert", key()), Damaged)
    model.unlink()
    found = store.find("convert", key())
    assert isinstance(found, Damaged) and found.problem == "model.bin is missing"


def test_what_may_not_be_read_is_an_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store)

    def refuse(path: object, *_: object) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ArtifactError) as caught:
        store.find("convert", key())
    assert caught.value.code == "ART153"
    monkeypatch.undo()
    monkeypatch.setattr(os, "stat", refuse)
    with pytest.raises(ArtifactError) as caught:
        store.find("convert", key())
    assert caught.value.code == "ART153"


@pytest.mark.parametrize(("kind", "bad"), [("../x", key()), ("convert", "../" + key()), ("", "")])
def test_nobody_finds_a_way_out(store: Store, kind: str, bad: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        store.find(kind, bad)
    assert caught.value.code == "ART144"
