from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmtrt.artifacts.atomic import remove_tree, sync_all, write_bytes, write_text
from mmtrt.errors import ArtifactError


def test_writes_and_replaces(tmp_path: Path) -> None:
    place = tmp_path / "naïve\nname"
    write_text(place, "eins")
    write_text(place, "zwei ü")
    assert place.read_text("utf-8") == "zwei ü"
    assert list(tmp_path.iterdir()) == [place]


def test_follows_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "x", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("function", ["fsync", "write"])
def test_a_failure_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    place = tmp_path / "x"
    write_text(place, "old")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, function, refuse)
    with pytest.raises(ArtifactError) as caught:
        write_text(place, "new")
    monkeypatch.undo()
    assert caught.value.code == "ART150"
    assert "GiB left" in (caught.value.why or "")
    assert place.read_text() == "old"
    assert list(tmp_path.iterdir()) == [place]


def test_a_long_name_can_be_written(tmp_path: Path) -> None:
    place = tmp_path / ("x" * 255)
    write_text(place, "x")
    assert list(tmp_path.iterdir()) == [place]


def test_file_size_limit(tmp_path: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
from mmtrt.artifacts.atomic import write_bytes
from mmtrt.errors import ArtifactError
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_bytes(Path(sys.argv[1]), b"x" * 5000)
except ArtifactError as error:
    print(error.code, "ulimit" in error.fix)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "x")], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("ART151 True\n", "")
    assert list(tmp_path.iterdir()) == []


def test_sync_all_raises_what_one_of_them_raises(tmp_path: Path) -> None:
    write_bytes(tmp_path / "x", b"")
    sync_all([str(tmp_path), str(tmp_path / "x")])
    with pytest.raises(FileNotFoundError):
        sync_all([str(tmp_path), str(tmp_path / "y"), str(tmp_path / "x")])


class TestRemoveTree:
    def test_removes_what_is_protected_and_never_follows_links(self, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "precious").write_text("x")
        root = tmp_path / "root"
        (root / "a/b").mkdir(parents=True)
        (root / "a/b/file").write_text("x")
        (root / "a/directory link").symlink_to(outside)
        (root / "a/file link").symlink_to(outside / "precious")
        (root / "a/dangling").symlink_to("nowhere")
        os.mkfifo(root / "a/pipe")
        (root / "a/b/file").chmod(0o400)
        (root / "a/b").chmod(0o500)
        (root / "a").chmod(0o500)
        remove_tree(root)
        assert list(tmp_path.iterdir()) == [outside]
        assert (outside / "precious").read_text() == "x"

    def test_removes_a_file_a_link_and_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "target").mkdir()
        (tmp_path / "link").symlink_to("target")
        remove_tree(tmp_path / "link")
        remove_tree(tmp_path / "nothing")
        (tmp_path / "target/file").write_text("")
        remove_tree(tmp_path / "target/file")
        assert list(tmp_path.rglob("*")) == [tmp_path / "target"]

    def test_removes_the_rest_before_it_complains(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = tmp_path / "root"
        root.mkdir()
        for name in "abc":
            (root / name).write_text("")
        unlink = Path.unlink

        def refuse_b(path: Path, missing_ok: bool = False) -> None:
            if path.name == "b":
                raise PermissionError(1, "Operation not permitted", str(path))
            unlink(path, missing_ok)

        monkeypatch.setattr(Path, "unlink", refuse_b)
        with pytest.raises(PermissionError):
            remove_tree(root)
        assert [path.name for path in root.iterdir()] == ["b"]
