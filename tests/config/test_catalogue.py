from __future__ import annotations

import pytest
import yaml

from mmtrt.config.catalogue import recipe_path, recipes
from mmtrt.config.root import recipes_root
from mmtrt.errors import RecipeError
from tests.config.conftest import MakeUserDir


def test_shipped_recipes() -> None:
    entries = recipes()
    assert [entry.name for entry in entries] == sorted(
        path.stem for path in (recipes_root() / "recipe").glob("*.yaml")
    )
    for entry in entries:
        assert entry.error is None
        data = yaml.safe_load(entry.path.read_text())
        assert entry.title == data["title"]
        assert list(entry.variants) == list(data["variants"])
        assert entry.default_variant in entry.variants
        assert entry.workflow in ("engine", "pytorch")
        assert entry.readme_section and entry.summary and entry.quants and entry.backends


def test_recipe_of_a_user(user_dir: MakeUserDir) -> None:
    root = user_dir()
    entry = next(entry for entry in recipes([root]) if entry.name == "mine")
    assert entry.path == root / "recipe/mine.yaml"
    assert (entry.title, entry.variants, entry.sessions) == ("Mine", ("small",), ("cpp",))


def test_recipe_that_builds_on_another(user_dir: MakeUserDir) -> None:
    root = user_dir(**{"recipe/child": "defaults: [mine, _self_]\ntitle: Child\n"})
    entry = next(entry for entry in recipes([root]) if entry.name == "child")
    assert (entry.title, entry.variants, entry.error) == ("Child", ("small",), None)


BROKEN = {
    "syntax": ("a: [\nb: 1", "my/recipe/broken.yaml:1:4"),
    "list": ("- a\n", "my/recipe/broken.yaml"),
    "empty": ("", "my/recipe/broken.yaml"),
    "control": ("a: \x07\n", "my/recipe/broken.yaml:1:4"),
    "default": ("defaults: [nope]\n", "my/recipe/broken.yaml:1:12"),
    "circle": ("defaults: [broken]\n", "my/recipe/broken.yaml"),
    "deep": ("[" * 3000, "my/recipe/broken.yaml"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_file_is_an_entry_with_its_error(case: str, user_dir: MakeUserDir) -> None:
    text, at = BROKEN[case]
    root = user_dir()
    (root / "recipe/broken.yaml").write_text(text)
    entries = {entry.name: entry for entry in recipes([root])}
    assert entries["mine"].error is None
    assert f"\n  at: {at}" in str(entries["broken"].error)


def test_values_of_strange_types(user_dir: MakeUserDir) -> None:
    root = user_dir(
        **{"recipe/strange": "title: 1.10\nvariants: 3\nquants: {no: 1}\nsummary: null\n"}
    )
    entry = next(entry for entry in recipes([root]) if entry.name == "strange")
    assert (entry.title, entry.variants, entry.quants) == ("1.1", (), ("False",))


def test_directory_with_the_name_of_a_recipe(user_dir: MakeUserDir) -> None:
    root = user_dir()
    (root / "recipe/dir.yaml").mkdir()
    entry = next(entry for entry in recipes([root]) if entry.name == "dir")
    assert entry.error == "is not a file"


def test_recipe_path(user_dir: MakeUserDir) -> None:
    root = user_dir()
    assert recipe_path("llava") == recipes_root() / "recipe/llava.yaml"
    assert recipe_path("mine", [root]) == root / "recipe/mine.yaml"
    with pytest.raises(RecipeError, match="there is no recipe 'lava'") as caught:
        recipe_path("lava")
    assert caught.value.fix == "llava"
