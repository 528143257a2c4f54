from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Stage, call, tree


def write(out: Path, *files: str) -> tuple[object, ...]:
    return ("write", "--output-dir", out, *(f"--file={file}" for file in files))


def test_text_is_written_with_a_newline_at_its_end(stage: Stage, tmp_path: Path) -> None:
    files = ("a.yml=x: 1", "sub/b.txt=done\n", "empty=", "c=d=e\nü")
    ended = stage.run(*write(tmp_path / "out", *files)).done()
    assert tree(tmp_path / "out") == {
        "a.yml": b"x: 1\n",
        "sub/b.txt": b"done\n",
        "empty": b"",
        "c": "d=e\nü\n".encode(),
    }
    assert ended.stdout.splitlines()[0] == "wrote a.yml, 5 bytes"
    assert ended.stderr == ""


@pytest.mark.parametrize("file", ["a", "=x", "/a=x", "../a=x", "a/../../b=x", ".=x"])
def test_malformed_file_exits_2(tmp_path: Path, file: str) -> None:
    ended = call(*write(tmp_path / "out", file))
    assert ended.status == 2
    assert "argument --file" in ended.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("files", [("a=1", "a=2"), ("a=1", "./a=2"), ("a=1", "a/b/c=2")])
def test_one_name_twice_writes_nothing(tmp_path: Path, files: tuple[str, ...]) -> None:
    call(*write(tmp_path / "out", *files)).failed("ART101")
    call(*write(tmp_path / "out", *reversed(files))).failed("ART101")
    assert not (tmp_path / "out").exists()


def test_nothing_is_replaced(tmp_path: Path) -> None:
    call(*write(tmp_path, "a=old")).done()
    call(*write(tmp_path, "a=new")).failed("ART101")
    assert tree(tmp_path) == {"a": b"old\n"}
    (tmp_path / "link").symlink_to("gone")
    call(*write(tmp_path, "link=new")).failed("ART101")


def test_hostile_names(tmp_path: Path, hostile: str) -> None:
    call(*write(tmp_path / hostile, f"{hostile}={hostile}")).done()
    assert tree(tmp_path / hostile) == {hostile: f"{hostile}\n".encode()}
