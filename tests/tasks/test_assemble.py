from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Stage, call, tree


def make(root: Path, **files: str) -> Path:
    for name, content in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


@pytest.fixture
def llm(tmp_path: Path) -> Path:
    return make(tmp_path / "llm=1", engine="llm", deep__er__config="{}")


@pytest.fixture
def vision(tmp_path: Path) -> Path:
    return make(tmp_path / "vision", engine="vision")


def test_parts_share_inodes_with_their_sources(
    stage: Stage, tmp_path: Path, llm: Path, vision: Path
) -> None:
    out = tmp_path / "out"
    parts = ("--part", f"llm/decoder={llm}", "--part", f"vision={vision}")
    ended = stage.run("assemble", "--output-dir", out, *parts).done()
    assert tree(out) == {
        "llm/decoder/engine": b"llm",
        "llm/decoder/deep/er/config": b"{}",
        "vision/engine": b"vision",
    }
    assert (out / "vision/engine").stat().st_ino == (vision / "engine").stat().st_ino
    assert (out / "llm/decoder/engine").samefile(llm / "engine")
    assert not any(path.is_symlink() for path in out.rglob("*"))
    assert ended.stdout == "3 files of 2 parts linked\n"


def test_directories_merge_but_files_do_not(tmp_path: Path, llm: Path, vision: Path) -> None:
    out = tmp_path / "out"
    ended = call("assemble", "--output-dir", out, "--part", f"a={llm}", "--part", f"a={vision}")
    ended.failed("ART101")
    assert "two parts hold `a/engine`" in ended.stderr
    assert not out.exists()
    (vision / "engine").rename(vision / "other")
    call("assemble", "--output-dir", out, "--part", f"a={llm}", "--part", f"a={vision}").done()
    assert set(tree(out)) == {"a/engine", "a/other", "a/deep/er/config"}


@pytest.mark.parametrize("names", [("x", "x/engine"), ("x/engine", "x")])
def test_file_where_another_part_has_a_directory(
    tmp_path: Path, llm: Path, vision: Path, names: tuple[str, str]
) -> None:
    parts = ("--part", f"{names[0]}={llm}", "--part", f"{names[1]}={vision}")
    call("assemble", "--output-dir", tmp_path / "out", *parts).failed("ART101")
    assert not (tmp_path / "out").exists()


def test_other_file_system_gets_relative_links(
    tmp_path: Path, llm: Path, other_file_system: Path
) -> None:
    out = other_file_system / "out"
    call("assemble", "--output-dir", out, "--part", f"llm={llm}").done()
    link = out / "llm" / "deep" / "er" / "config"
    assert not link.readlink().is_absolute()
    assert link.resolve() == (llm / "deep" / "er" / "config").resolve()
    assert tree(out) == {f"llm/{name}": content for name, content in tree(llm).items()}


def test_links_lead_where_they_did(tmp_path: Path, llm: Path) -> None:
    (llm / "deep" / "up").symlink_to("../engine")
    (llm / "out").symlink_to("../vision-elsewhere")
    make(tmp_path / "vision-elsewhere", a="1")
    call("assemble", "--output-dir", tmp_path / "o", "--part", f"llm={llm}").done()
    assert (tmp_path / "o/llm/deep/up").readlink() == Path("../engine")
    assert (tmp_path / "o/llm/out").readlink() == tmp_path / "vision-elsewhere"
    (llm / "gone").symlink_to("nowhere")
    call("assemble", "--output-dir", tmp_path / "p", "--part", f"llm={llm}").failed("ART106")


@pytest.mark.parametrize("kind", ["missing", "empty"])
def test_part_without_files(tmp_path: Path, kind: str) -> None:
    if kind == "empty":
        (tmp_path / "none").mkdir()
    flags = ("--output-dir", tmp_path / "out", "--part", f"llm={tmp_path / 'none'}")
    ended = call("assemble", *flags).failed("ART107")
    assert f"is {kind}" in ended.stderr


@pytest.mark.parametrize("part", ["llm", "=x", "llm=", "../llm=x", "/llm=x", "a/../../b=x", ".=x"])
def test_malformed_part_exits_2(tmp_path: Path, part: str) -> None:
    ended = call("assemble", "--output-dir", tmp_path / "out", f"--part={part}")
    assert ended.status == 2
    assert "argument --part" in ended.stderr


def test_hostile_names(tmp_path: Path, hostile: str) -> None:
    source = tmp_path / hostile
    source.mkdir()
    (source / hostile).write_text("x")
    out = tmp_path / "out" / hostile
    call("assemble", "--output-dir", out, f"--part={hostile}={source}").done()
    assert (out / hostile / hostile).read_text() == "x"
