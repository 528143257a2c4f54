from __future__ import annotations

import json

import pytest

from mmtrt.config.catalogue import recipes
from mmtrt.config.compose import compose
from mmtrt.config.recipe import resolve
from mmtrt.report.recipe_view import (
    header,
    launch_lines,
    recipe_json,
    stage_lines,
)
from tests.worlds import RECIPES

LLAVA = RECIPES / "recipe/llava.yaml"


def file_of(name):
    return compose([f"recipe={name}"]).settings.recipe


@pytest.mark.parametrize("entry", recipes(), ids=lambda entry: entry.name)
def test_every_recipe_can_be_shown_as_json(entry):
    shown = recipe_json(resolve(compose([f"recipe={entry.name}"]).settings), entry.path)
    assert json.loads(json.dumps(shown))["name"] == entry.name


@pytest.mark.parametrize("entry", recipes(), ids=lambda entry: entry.name)
def test_every_recipe_says_how_it_is_launched(entry):
    assert header(entry.path)[0]
    lines = launch_lines(entry.path, entry.name)
    assert all(line.startswith("mmtrt ") for line in lines)
    assert any(f"recipe={entry.name}" in line for line in lines)


def test_a_recipe_of_the_users_is_launched_from_its_directory(tmp_path):
    path = tmp_path / "my recipes/recipe/mine.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(LLAVA.read_text())
    assert launch_lines(path, "mine") == [f"mmtrt -cd '{tmp_path}/my recipes' recipe=mine"]


def test_stages_are_as_deep_as_what_must_come_before():
    file = file_of("llava")
    depths = [(line.id, line.depth) for line in stage_lines(file.stages)]
    assert depths == [
        *[("download", 0), ("convert", 1), ("quantize", 2), ("build_vision", 2)],
        *[("build_llm", 3), ("assemble", 4), ("run", 5), ("eval", 5)],
    ]


def test_a_place_below_an_output_counts_as_its_stage():
    file = file_of("vila")
    lines = {line.id: line for line in stage_lines(file.stages)}
    assert lines["convert"].needs["model"] == "hf_models/vila1.5-3b"
    assert lines["convert"].depth == lines["hf_models"].depth + 1 == 2


def test_a_circle_of_stages_is_shown_all_the_same():
    file = file_of("llava")
    file.stages["download"].needs["x"] = "run"
    file.stages["convert"].needs["y"] = "nowhere"
    assert {line.id for line in stage_lines(file.stages)} == set(file.stages)
