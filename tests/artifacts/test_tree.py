from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from mmtrt.artifacts.tree import scan
from mmtrt.errors import ArtifactError
from tests.artifacts.filling import HOSTILE, write


def paths(root: Path) -> list[str]:
    return [leaf.path for leaf in scan(str(root)).files]


def refused(root: Path) -> str:
    with pytest.raises(ArtifactError) as caught:
        scan(str(root))
    return caught.value.code


def test_lists_files_sorted(tmp_path: Path) -> None:
    write(tmp_path, {"b": b"", "a/z": b"1", "a/b/c": b"22", "a.txt": b""})
    (tmp_path / "empty").mkdir()
    tree = scan(str(tmp_path))
    assert [(leaf.path, leaf.stat.st_size) for leaf in tree.files] == [
        ("a.txt", 0),
        ("a/b/c", 2),
        ("a/z", 1),
        ("b", 0),
    ]
    assert sorted(tree.directories) == [str(tmp_path / path) for path in ("", "a", "a/b", "empty")]
    assert not any(leaf.is_linked for leaf in tree.files)


def test_names_may_be_odd(tmp_path: Path) -> None:
    write(tmp_path, {f"{name}/{name}": b"" for name in HOSTILE})
    assert paths(tmp_path) == sorted(f"{name}/{name}" for name in HOSTILE)


def test_follows_links_to_files_and_directories(tmp_path: Path) -> None:
    write(tmp_path / "outside", {"x/deep": b"12", "file": b"345"})
    (tmp_path / "outside/inner").symlink_to("x")
    root = tmp_path / "root"
    write(root, {"own": b""})
    (root / "linked").symlink_to(tmp_path / "outside")
    (root / "one").symlink_to("../outside/file")
    tree = scan(str(root))
    assert [(leaf.path, leaf.stat.st_size, leaf.is_linked) for leaf in tree.files] == [
        ("linked/file", 3, True),
        ("linked/inner/deep", 2, True),
        ("linked/x/deep", 2, True),
        ("one", 3, True),
        ("own", 0, False),
    ]
    assert tree.directories == [str(root)]
    assert sorted(tree.links) == [str(root / "linked"), str(root / "one")]


def test_the_root_may_be_a_link_or_a_file(tmp_path: Path) -> None:
    write(tmp_path / "outside", {"file": b"345"})
    (tmp_path / "root").symlink_to("outside")
    tree = scan(str(tmp_path / "root"))
    assert [(leaf.path, leaf.is_linked) for leaf in tree.files] == [("file", True)]
    assert (tree.links, tree.directories) == ([str(tmp_path / "root")], [])
    assert paths(tmp_path / "outside/file") == [""]


def test_links_to_nowhere_and_in_circles_are_refused(tmp_path: Path) -> None:
    link = tmp_path / "root/link"
    link.parent.mkdir()
    for target in ("nowhere", "link", ".", "..", "../root", str(tmp_path)):
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        assert refused(tmp_path / "root") == "ART160", target


def test_two_links_to_one_directory_are_no_circle(tmp_path: Path) -> None:
    write(tmp_path, {"a/x": b""})
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "c").symlink_to("b")
    assert paths(tmp_path) == ["a/x", "b/x", "c/x"]


def test_pipes_sockets_and_devices_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert refused(tmp_path) == "ART162"
    assert refused(tmp_path / "pipe") == "ART162"
    (tmp_path / "pipe").unlink()
    (tmp_path / "null").symlink_to("/dev/null")
    assert refused(tmp_path) == "ART162"
    (tmp_path / "null").unlink()
    with socket.socket(socket.AF_UNIX) as listening:
        before = Path.cwd()
        os.chdir(tmp_path)  # socket paths are limited to 108 bytes
        try:
            listening.bind("s")
        finally:
            os.chdir(before)
        assert refused(tmp_path) == "ART162"


def test_names_that_are_no_text_are_refused(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).write_text("")
    assert refused(tmp_path) == "ART163"


def test_what_does_not_count_does_no_harm(tmp_path: Path) -> None:
    write(tmp_path, {"model.json": b"", "sub/model.json": b""})
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    tree = scan(str(tmp_path), lambda path: path.endswith(".json"))
    assert [leaf.path for leaf in tree.files] == ["model.json", "sub/model.json"]


def test_nothing_there(tmp_path: Path) -> None:
    assert refused(tmp_path / "nothing") == "ART154"
