from __future__ import annotations

import json

import pytest

from mmtrt.cli import dispatch
from mmtrt.cli.cp import renamed
from mmtrt.config.compose import compose
from tests.worlds import RECIPES

LLAVA = (RECIPES / "recipe/llava.yaml").read_text()


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_only_the_name_changes(here, capsys):
    assert dispatch(["cp", "llava", "own/recipe/mine.yaml", "--make-parents"]) == 0
    copy = (here / "own/recipe/mine.yaml").read_text()
    changed = [(a, b) for a, b in zip(LLAVA.splitlines(), copy.splitlines(), strict=True) if a != b]
    assert changed == [("name: llava", "name: mine")]
    assert capsys.readouterr().out == (
        "Copied llava to own/recipe/mine.yaml\nUse it: mmtrt -cd own recipe=mine\n"
    )


def test_the_copy_works_as_it_says(here):
    dispatch(["cp", "llava", "own/recipe/mine.yaml", "--make-parents"])
    settings = compose(["recipe=mine", "variant=tiny"], [here / "own"]).settings
    assert settings.recipe.name == "mine"


def test_a_file_that_is_there_is_not_overwritten(here, capsys):
    target = here / "recipe/mine.yaml"
    target.parent.mkdir()
    target.write_text("precious")
    assert dispatch(["cp", "llava", "recipe/mine.yaml"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert dispatch(["cp", "llava", "recipe/mine.yaml", "-n"]) == 0
    assert capsys.readouterr().out == ""
    assert target.read_text() == "precious"
    assert dispatch(["cp", "llava", "recipe/mine.yaml", "--force"]) == 0
    assert "name: mine" in target.read_text()


def test_directories_are_made_only_on_request(here, capsys):
    assert dispatch(["cp", "llava", "own/recipe/mine.yaml"]) == 2
    assert "fix: add --make-parents" in capsys.readouterr().err
    assert not (here / "own").exists()


@pytest.mark.parametrize(
    ("target", "fix"),
    [
        ("mine.yaml", "recipe/mine.yaml"),
        ("own/mine.yaml", "own/recipe/mine.yaml"),
        ("own", "own/recipe/my_llava.yaml"),
        ("own/recipe", "own/recipe/my_llava.yaml"),
        ("recipe/8 b.yaml", "recipe/my_llava.yaml"),
    ],
)
def test_a_place_where_nothing_would_find_it_is_refused(here, capsys, target, fix):
    assert dispatch(["cp", "llava", target, "--make-parents"]) == 2
    assert f"fix: mmtrt cp llava {fix}" in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_an_unknown_recipe_is_told(here, capsys):
    assert dispatch(["cp", "lava", "recipe/mine.yaml", "--make-parents"]) == 2
    assert "fix: llava" in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_json_names_the_files(here, capsys):
    dispatch(["cp", "llava", "own/recipe/mine.yaml", "--make-parents", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["status"] == "copied"
    assert document["file"] == "own/recipe/mine.yaml"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("# name: x\nname: llava\nother: 1\n", "# name: x\nname: new\nother: 1\n"),
        ("name:   'a b'   # mine\n", "name:   new   # mine\n"),
        ('name: "x"\r\nrun: {name: y}\r\n', "name: new\r\nrun: {name: y}\r\n"),
        ("name: a\n---\nname: b\n", "name: new\n---\nname: b\n"),
        ("title: T\nstages:\n  name: x\n", "name: new\ntitle: T\nstages:\n  name: x\n"),
    ],
)
def test_renaming_is_one_edit(before, after):
    assert renamed(before, "new") == after


def test_a_name_that_yaml_reads_otherwise_is_quoted():
    assert renamed("name: x\n", "on") == 'name: "on"\n'
