from __future__ import annotations

import pytest

from mmtrt.config.catalogue import recipes
from mmtrt.config.compose import compose
from mmtrt.report.catalogue import entry_error, entry_json
from tests.worlds import RECIPES


@pytest.fixture
def own(tmp_path):
    folder = tmp_path / "recipe"
    folder.mkdir()
    text = (RECIPES / "recipe/llava.yaml").read_text()
    (folder / "good.yaml").write_text(text)
    (folder / "misspelled.yaml").write_text(text.replace("hf_model_type:", "hf_modeltype:"))
    (folder / "no_yaml.yaml").write_text("name: [\n")
    (folder / "derived.yaml").write_text("defaults:\n  - llava\n  - _self_\ntitle: Mine\n")
    return {entry.name: (entry, [tmp_path]) for entry in recipes([tmp_path])}


def test_every_recipe_that_ships_is_in_order():
    entries = recipes()
    assert len(entries) >= 2
    assert [entry_error(entry) for entry in entries] == [None] * len(entries)
    for entry in entries:
        compose([f"recipe={entry.name}"])


def test_a_good_recipe_of_the_users_has_no_error(own):
    assert entry_error(*own["good"]) is None


def test_a_recipe_that_builds_on_another_has_no_error(own):
    assert entry_error(*own["derived"]) is None


def test_a_recipe_that_misses_a_key_tells_every_problem(own):
    error = entry_error(*own["misspelled"])
    assert "there is no key 'recipe.hf_modeltype'" in error
    assert "recipe.hf_model_type must be said" in error


def test_a_file_that_is_no_yaml_is_an_entry(own):
    assert "CFG105" in entry_error(*own["no_yaml"])


def test_json_has_the_promised_names(own):
    assert set(entry_json(own["good"][0], None)) >= {
        *("name", "title", "summary", "variants", "default_variant", "quants", "sessions"),
        *("workflow", "backends", "readme_section", "file"),
    }
