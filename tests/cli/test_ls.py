from __future__ import annotations

import json

from mmtrt.cli import dispatch
from mmtrt.config.catalogue import recipes
from tests.worlds import RECIPES

LLAVA = (RECIPES / "recipe/llava.yaml").read_text()


def test_every_recipe_is_a_row(capsys):
    assert dispatch(["ls"]) == 0
    out, err = capsys.readouterr()
    head, *rows = out.splitlines()
    assert head.split() == [
        *("RECIPE", "VARIANTS", "FORMATS", "BACKENDS", "README", "SECTION", "SUMMARY"),
    ]
    assert [row.split()[0] for row in rows] == [entry.name for entry in recipes()]
    assert "7b*, 13b, tiny" in out
    assert err == ""


def test_json_lists_every_recipe(capsys):
    assert dispatch(["ls", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == 1
    (llava,) = (each for each in document["recipes"] if each["name"] == "llava")
    assert llava["default_variant"] == "7b"
    assert llava["error"] is None
    assert llava["file"].endswith("recipe/llava.yaml")


def test_own_recipes_are_listed_and_broken_ones_with_their_error(capsys, tmp_path):
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe/mine.yaml").write_text(LLAVA.replace("name: llava", "name: mine"))
    (tmp_path / "recipe/broken.yaml").write_text(LLAVA.replace("dtype: float16", "dtype: half"))
    (tmp_path / "recipe/empty.yaml").write_text("")
    assert dispatch(["ls", "-cd", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    rows = {row.split()[0]: row for row in out.splitlines()}
    assert "CLIP vision tower" in rows["mine"]
    assert "broken: " in rows["broken"]
    assert "broken: " in rows["empty"]
    assert "recipe.dtype must be one of" in err


def test_a_word_is_refused_with_what_was_meant(capsys):
    assert dispatch(["ls", "llava"]) == 2
    assert "fix: mmtrt show llava" in capsys.readouterr().err


def test_a_directory_that_is_not_there_is_refused(capsys, tmp_path):
    assert dispatch(["ls", "-cd", str(tmp_path / "missing")]) == 2
    assert "CFG107" in capsys.readouterr().err
