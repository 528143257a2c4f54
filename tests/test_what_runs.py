"""The page of what runs where is what tests found, and speaks of the recipes that there are."""

from __future__ import annotations

import json

import pytest

from mmtrt.backends.native import Native
from tests import matrix, matrix_page
from tests.every import recipe_data, recipe_names

RESULTS = json.loads(matrix_page.RESULTS.read_text())
CELLS = {
    (row["recipe"], row["variant"], row["engine"], row["column"]): row for row in RESULTS["cells"]
}
NATIVE = [*matrix_page.native_variants()]


def test_the_page_is_what_is_generated_now():
    assert matrix_page.PAGE.read_text(encoding="utf-8") == matrix_page.page(RESULTS), (
        "docs/what_runs_where.md is stale: run `make matrix`, or, where only its words changed, "
        "python -m tests.matrix_page"
    )


@pytest.mark.parametrize(("recipe", "variant"), NATIVE)
@pytest.mark.parametrize("column", ["build", "run", "exact", "eval"])
def test_every_native_model_is_shown_to_work(recipe, variant, column):
    found = CELLS.get((recipe, variant, "onnxruntime", column))
    assert found is not None, f"no result for {recipe} {variant}: run `make matrix`"
    assert found["outcome"] == "passed"


def test_no_cell_is_of_something_that_is_gone():
    known = {*NATIVE}
    for recipe, variant, engine, column in CELLS:
        assert (recipe, variant) in known
        assert engine in matrix.ENGINES and engine in matrix_page.NOTES
        assert column in matrix_page.columns()


def test_every_recipe_without_native_engines_says_why():
    for name in recipe_names():
        data = recipe_data(name)
        assert ("native" in data["backends"]) is (data.get("not_native") is None), name


def test_number_formats_are_those_of_the_backend():
    assert matrix_page.FORMATS["onnxruntime"] is Native.formats
