from __future__ import annotations

import json

import pytest

from mmtrt.config.catalogue import recipes
from mmtrt.config.compose import compose
from mmtrt.config.recipe import resolve
from mmtrt.report.catalogue import read_file
from mmtrt.report.recipe_view import (
    header,
    launch_lines,
    recipe_json,
    stage_lines,
    with_defaults,
)
from tests.worlds import RECIPES

LLAVA = RECIPES / "recipe/llava.yaml"


@pytest.mark.parametrize("entry", recipes(), ids=lambda entry: entry.name)
def test_reading_the_file_gives_what_composition_gives(entry):
    file, _ = read_file(entry.path)
    if file is None:
        pytest.skip("builds on other files, so it is always composed")
    composed = resolve(compose([f"recipe={entry.name}"]).settings)
    quick = recipe_json(with_defaults(file), entry.path)
    assert quick == recipe_json(composed, entry.path)
    json.dumps(quick)


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
    file, _ = read_file(LLAVA)
    depths = [(line.id, line.depth) for line in stage_lines(file.stages)]
    assert depths == [
        *[("download", 0), ("convert", 1), ("quantize", 2), ("build_vision", 2)],
        *[("build_llm", 3), ("assemble", 4), ("run", 5), ("eval", 5)],
    ]


def test_a_place_below_an_output_counts_as_its_stage():
    file, _ = read_file(RECIPES / "recipe/vila.yaml")
    lines = {line.id: line for line in stage_lines(file.stages)}
    assert lines["convert"].needs["model"] == "hf_models/vila1.5-3b"
    assert lines["convert"].depth == lines["hf_models"].depth + 1 == 2


def test_a_circle_of_stages_is_shown_all_the_same():
    file, _ = read_file(LLAVA)
    file.stages["download"].needs["x"] = "run"
    file.stages["convert"].needs["y"] = "nowhere"
    assert {line.id for line in stage_lines(file.stages)} == set(file.stages)
