from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mmtrt.artifacts.lookup import Artifact, Damaged, Hit, Miss
from mmtrt.artifacts.manifest import tree_digest
from mmtrt.artifacts.store import Store
from mmtrt.errors import ArtifactCorrupt, ArtifactError
from tests.artifacts.filling import (
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
    "other time": (
        lambda a: age(a.path / "config.json", 60),
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
