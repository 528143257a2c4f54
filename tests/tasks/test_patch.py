from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Stage, call, tree

FILES = {
    "visual.py": b"import xops\nx = 1\n",
    "model.safetensors": b"weights",
    "sub/a b.py": b"a\n",
}
EDIT = {"file": "visual.py", "before": "import xops\n", "after": ""}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    root = tmp_path / "model"
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out" / "model"


def flags(model: Path, out: Path, *edits: dict[str, str]) -> tuple[object, ...]:
    return ("--source-dir", model, "--output-dir", out, "--edits", json.dumps(edits))


def test_other_files_are_linked_and_the_source_stays(stage: Stage, model: Path, out: Path) -> None:
    (model / "visual.py").chmod(0o755)
    ended = stage.run("patch", *flags(model, out, EDIT)).done()
    assert tree(out) == FILES | {"visual.py": b"x = 1\n"}
    assert tree(model) == FILES
    assert (out / "model.safetensors").samefile(model / "model.safetensors")
    assert (out / "sub" / "a b.py").samefile(model / "sub" / "a b.py")
    assert not (out / "visual.py").samefile(model / "visual.py")
    assert (out / "visual.py").stat().st_mode & 0o777 == 0o755
    assert ended.stdout.startswith("patched visual.py, sha256 ")


def test_links_stay_links_and_a_patched_link_becomes_a_file(
    model: Path, out: Path, tmp_path: Path
) -> None:
    user = tmp_path / "user"
    model.rename(user)
    model.mkdir()
    for name in ("visual.py", "model.safetensors"):
        (model / name).symlink_to(user / name)
    (model / "same.py").symlink_to("visual.py")
    (model / "near.py").symlink_to("../user/visual.py")
    call("patch", *flags(model, out, EDIT)).done()
    assert (out / "model.safetensors").readlink() == user / "model.safetensors"
    assert (out / "same.py").readlink() == Path("visual.py")
    assert (out / "near.py").readlink() == user / "visual.py"
    assert not (out / "visual.py").is_symlink()
    assert (out / "visual.py").read_bytes() == b"x = 1\n"
    assert tree(user) == FILES


def test_all_files_that_do_not_fit_are_told_and_nothing_is_written(model: Path, out: Path) -> None:
    wrong = {"file": "sub/a b.py", "before": "b\n", "after": "c\n"}
    gone = {"file": "gone.py", "before": "b\n", "after": "c\n"}
    ended = call("patch", *flags(model, out, EDIT, wrong, gone)).failed("ART102")
    assert "error[ART107]: there is no file `gone.py` to patch" in ended.stderr
    assert "  expected:\n    | b\n" in ended.stderr
    assert not out.exists()


def test_patched_output_is_refused_as_source(model: Path, out: Path) -> None:
    edit = EDIT | {"after": "import math\n"}
    call("patch", *flags(model, out, edit)).done()
    ended = call("patch", *flags(out, out.parent / "again", edit)).failed("ART108")
    assert "carries this edit already" in ended.stderr


def test_directory_that_is_a_link_is_not_written_through(
    model: Path, out: Path, tmp_path: Path
) -> None:
    (model / "sub").rename(tmp_path / "elsewhere")
    (model / "sub").symlink_to(tmp_path / "elsewhere")
    edit = {"file": "sub/a b.py", "before": "a\n", "after": "b\n"}
    call("patch", *flags(model, out, edit)).failed("ART104")
    assert (tmp_path / "elsewhere" / "a b.py").read_bytes() == b"a\n"


@pytest.mark.parametrize("name", ["../user.py", "/etc/hosts"])
def test_file_outside_is_refused(model: Path, out: Path, name: str) -> None:
    call("patch", *flags(model, out, EDIT | {"file": name})).failed("ART104")


def test_missing_source(tmp_path: Path, out: Path) -> None:
    call("patch", *flags(tmp_path / "none", out, EDIT)).failed("ART107")


def test_output_inside_the_source_is_refused(model: Path) -> None:
    call("patch", *flags(model, model / "out", EDIT)).failed("ART104")


def test_occupied_output_is_refused(model: Path, out: Path) -> None:
    out.mkdir(parents=True)
    (out / "visual.py").write_text("mine")
    call("patch", *flags(model, out, EDIT)).failed("ART101")
    assert (out / "visual.py").read_text() == "mine"


def test_hostile_names(model: Path, out: Path, hostile: str) -> None:
    (model / hostile).mkdir()
    (model / hostile / f"{hostile}.py").write_text("old\n")
    edit = {"file": f"{hostile}/{hostile}.py", "before": "old", "after": "new"}
    call("patch", *flags(model, out / hostile, edit)).done()
    assert (out / hostile / hostile / f"{hostile}.py").read_text() == "new\n"


def test_help_example_is_valid() -> None:
    from mmtrt.tasks.edits import EXAMPLE, parse_edits
    from mmtrt.tasks.patch import EPILOG

    parse_edits(EXAMPLE)
    parse_edits(EPILOG.split("--edits '")[1].split("'\n")[0])
