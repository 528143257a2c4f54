from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mmtrt.tasks.links import Kind, Otherwise, link_file, relative_name, require_apart, walk
from mmtrt.tasks.messages import TaskError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_text("x")
    path.chmod(0o640)
    return path


@pytest.fixture(params=[errno.EXDEV, errno.EPERM, errno.EMLINK])
def no_hard_links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(Path, "hardlink_to", refuse)


def test_hard_link(source: Path, tmp_path: Path) -> None:
    assert link_file(source, tmp_path / "a" / "b", Otherwise.COPY)
    assert (tmp_path / "a" / "b").samefile(source)


@pytest.mark.usefixtures("no_hard_links")
def test_copy_where_links_are_impossible(source: Path, tmp_path: Path) -> None:
    assert not link_file(source, tmp_path / "a" / "b", Otherwise.COPY)
    assert (tmp_path / "a" / "b").stat().st_mode == source.stat().st_mode
    assert not (tmp_path / "a" / "b").samefile(source)
    with pytest.raises(TaskError, match="already there"):
        link_file(source, tmp_path / "a" / "b", Otherwise.COPY)


@pytest.mark.usefixtures("no_hard_links")
def test_relative_link_where_hard_links_are_impossible(source: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "alias").symlink_to("real")  # `..` of an alias is not where it seems
    link_file(source, tmp_path / "alias" / "b", Otherwise.SYMLINK)
    assert (tmp_path / "real" / "b").readlink() == Path("../source")
    link_file(source, tmp_path / "alias" / "b", Otherwise.SYMLINK)
    (tmp_path / "real" / "c").symlink_to("other")
    with pytest.raises(TaskError, match="already there"):
        link_file(source, tmp_path / "real" / "c", Otherwise.SYMLINK)


def test_other_errors_are_not_hidden(source: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        link_file(tmp_path / "none", tmp_path / "b", Otherwise.COPY)


@pytest.mark.parametrize("name", ["", ".", "..", "/", "/a", "../a", "a/../b", "a/..", "a\0"])
def test_names_that_could_leave(name: str) -> None:
    with pytest.raises(TaskError) as caught:
        relative_name(name)
    assert caught.value.code == "ART104"


@pytest.mark.parametrize("name", ["a", "a/b", "a..b", "...", "-a", "a b/ü", "~", "a\\b"])
def test_names_that_stay(name: str) -> None:
    assert str(relative_name(name)) == name


def test_walk_names_directories_before_their_files(tmp_path: Path) -> None:
    (tmp_path / "b" / "c").mkdir(parents=True)
    (tmp_path / "b" / "c" / "f").write_text("")
    (tmp_path / "a").symlink_to("b")
    assert [(e.name, e.kind) for e in walk(tmp_path)] == [
        ("a", Kind.LINK),
        ("b", Kind.DIRECTORY),
        ("b/c", Kind.DIRECTORY),
        ("b/c/f", Kind.FILE),
    ]


def test_pipes_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TaskError, match="neither a file"):
        list(walk(tmp_path))


def test_output_that_is_the_source(tmp_path: Path) -> None:
    with pytest.raises(TaskError):
        require_apart(tmp_path, tmp_path.resolve(), "--source-dir")
    require_apart(tmp_path / "ab", tmp_path / "a", "--source-dir")
