from __future__ import annotations

from pathlib import Path

import pytest

from mmtrt.config import root
from mmtrt.config.root import asset, display, recipes_root, search_dirs
from mmtrt.errors import RecipeError


def test_recipes_root_holds_the_primary_config() -> None:
    assert (recipes_root() / "config.yaml").is_file()


def test_wheel_has_its_recipes_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "mmtrt"
    (package / "config").mkdir(parents=True)
    monkeypatch.setattr(root, "__file__", str(package / "config/root.py"))
    find = recipes_root.__wrapped__
    with pytest.raises(RecipeError, match="has no recipes"):
        find()
    (tmp_path / "recipes").mkdir()
    assert find() == tmp_path / "recipes"
    (package / "_recipes").mkdir()
    assert find() == package / "_recipes"


def test_search_dirs_are_absolute_and_said_once(tmp_path: Path) -> None:
    (tmp_path / "work/my").mkdir()
    dirs = search_dirs(["my", tmp_path / "work/my"])
    assert dirs[:2] == (recipes_root(), tmp_path / "work/my")
    assert dirs.count(tmp_path / "work/my") == 1


def test_config_dir_that_is_a_file() -> None:
    Path("file").write_text("")
    with pytest.raises(RecipeError, match="file is not a directory"):
        search_dirs(["file"])


@pytest.fixture
def my_assets() -> Path:
    pictures = Path("my/assets/pictures")
    pictures.mkdir(parents=True)
    (pictures / "red.png").write_bytes(b"")
    return Path("my").absolute()


def test_asset_of_a_user(my_assets: Path) -> None:
    assert asset("asset://pictures/red.png", [my_assets]) == my_assets / "assets/pictures/red.png"
    assert asset("asset://pictures/", [my_assets]).name == "pictures"


def test_missing_asset_has_a_hint(my_assets: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        asset("asset://pictures/rad.png", [my_assets])
    assert caught.value.code == "CFG107"
    assert caught.value.message == "there is no asset 'pictures/rad.png'"
    assert "asset://pictures/red.png" in str(caught.value.fix)


@pytest.mark.parametrize("name", ["../config.yaml", "/etc/passwd", "", "a/../../x", "a\0b"])
def test_asset_stays_inside(name: str, my_assets: Path) -> None:
    with pytest.raises(RecipeError, match="there is no asset"):
        asset(f"asset://{name}", [my_assets])


def test_display(tmp_path: Path) -> None:
    assert display(Path.cwd() / "a/b") == "a/b"
    assert display(tmp_path / "other") == str(tmp_path / "other")
