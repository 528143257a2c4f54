"""Composition: what comes out, where it comes from, and that Hydra agrees."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from mmtrt.config import keys, root
from mmtrt.config.compose import Composed, compose
from mmtrt.config.grammar import points
from mmtrt.config.hydra_app import run_hydra
from mmtrt.config.overrides import GROUPS
from mmtrt.config.root import choices, recipes_root, search_dirs
from mmtrt.errors import RecipeError
from tests.config.conftest import MakeUserDir

RECIPES = choices("recipe", [recipes_root()])

MANY = [
    ["recipe=llava"],
    ["recipe=llava", "tp=2", "pp=4"],
    ["recipe=llava", "quant=int4_awq", "quant.block_size=64"],
    ["recipe=llava", "quant.block_size=64", "quant=int4_awq", "quant.calib_size=8"],
    ["recipe=llava", "backend=native", "executor.jobs=3"],
    ["recipe=llava", "run.image=[a.png,b.png]", "run.prompt='What, now?'"],
    ["recipe=llava", "target={sm: 90, gpu_memory_gib: 80}"],
    ["recipe=llava", "model.path=${oc.env:HOME}/models", "paths.remote=${paths.store}/far"],
    ["recipe=llava", "recipe.variants.tiny.facts.hidden_size=64"],
    ["recipe=llava", "+recipe.variants.big={facts: ${recipe.variants.7b.facts}}"],
    ["recipe=llava", "recipe.backends.0=trtllm"],
    ["recipe=llava", "recipe.variants={7b: {license: mit}}"],
    ["recipe=llava", "~executor.network_retries", "~quant.name", "++quant.name=fp8"],
    ["recipe=llava", "workload.image_size=[336,336]", "workload.audio_seconds=3"],
    ["recipe=llava", "variant=7b", "variant=tiny"],
    ["recipe=llava", "hydra.job.name=x", "hydra/output=default"],
]


def test_defaults_of_the_schema_and_of_the_files_meet() -> None:
    composed = compose(["recipe=llava", "tp=2"])
    assert composed.settings.tp == 2
    assert composed.settings.recipe.name == "llava"
    assert composed.settings.paths.store == "outputs/store"
    assert composed.overrides == ("recipe=llava", "tp=2")
    assert "hydra" not in composed.data
    assert composed.data["tp"] == 2


@pytest.mark.parametrize("overrides", MANY, ids=" ".join)
def test_hydra_says_the_same(overrides: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    def no_job(composed: Composed) -> int:
        raise AssertionError

    assert run_hydra(["--cfg", "job", "--resolve", *overrides], no_job) == 0
    shown = OmegaConf.to_container(OmegaConf.create(capsys.readouterr().out))
    assert compose(overrides).data == shown


def test_every_recipe_and_every_group_file_composes() -> None:
    assert len(RECIPES) >= 2
    count = 0
    for group in GROUPS:
        for choice in choices(group, [recipes_root()]):
            words = [f"{group}={choice}"] if group == "recipe" else ["recipe=llava"]
            composed = compose([*words, f"{group}={choice}"])
            assert composed.data[group]["name"] == choice
            count += 1
    files = [p for g in GROUPS for p in (recipes_root() / g).rglob("*.yaml")]
    assert count == len(files) >= 9


def test_sources_in_the_order_of_merging(user_dir: MakeUserDir) -> None:
    composed = compose(["recipe=mine", "quant=int8_wo"], [user_dir()])
    assert [(path.name, package) for path, package in composed.sources] == [
        ("mine.yaml", "recipe"),
        ("auto.yaml", "backend"),
        ("int8_wo.yaml", "quant"),
        ("local.yaml", "executor"),
        ("config.yaml", ""),
    ]


def test_places(user_dir: MakeUserDir) -> None:
    composed = compose(
        ["recipe=mine", "tp=2", "target={sm: 90}", "run.image=[a.png,b.png]"], [user_dir()]
    )
    config = root.display(recipes_root() / "config.yaml")
    lines = (recipes_root() / "config.yaml").read_text().splitlines()
    pp = next(i for i, line in enumerate(lines, 1) if line.startswith("pp:"))
    assert composed.where(("tp",)) == "override 'tp=2'"
    assert composed.where(("pp",)) == f"{config}:{pp}:5"
    assert composed.where(("recipe",)) == "override 'recipe=mine'"
    assert composed.where(("recipe", "title")) == "my/recipe/mine.yaml:3:8"
    assert composed.where(("recipe", "backends", 0)) == "my/recipe/mine.yaml:13:12"
    assert composed.where(("recipe", "variants", "small")) == "my/recipe/mine.yaml:19:5"
    assert composed.where(("recipe", "variants", "small", "nope")) == "my/recipe/mine.yaml:19:5"
    assert composed.where(("target", "sm")) == "override 'target={sm: 90}'"
    assert composed.where(("target", "gpu_memory_gib")).startswith(config)
    assert composed.where(("run", "image", 1)) == "override 'run.image=[a.png,b.png]'"
    assert composed.where(("backend", "name")).endswith("backend/auto.yaml:1:7")


def test_places_are_absolute_above_the_current_directory(user_dir: MakeUserDir) -> None:
    path = user_dir()
    elsewhere = path / "elsewhere"
    elsewhere.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(elsewhere)
        composed = compose(["recipe=mine"], [".."])
        assert composed.where(("recipe", "title")) == f"{path}/recipe/mine.yaml:3:8"


def test_last_override_is_the_place() -> None:
    composed = compose(["recipe=llava", "tp=2", "tp=4"])
    assert composed.where(("tp",)) == "override 'tp=4'"


def test_recipe_that_builds_on_another(user_dir: MakeUserDir) -> None:
    root_dir = user_dir(**{"recipe/child": "defaults: [mine, _self_]\nname: child\ntitle: Child\n"})
    composed = compose(["recipe=child"], [root_dir])
    assert composed.settings.recipe.title == "Child"
    assert composed.settings.recipe.family == "llava"
    assert composed.where(("recipe", "title")) == "my/recipe/child.yaml:3:8"
    assert composed.where(("recipe", "family")) == "my/recipe/mine.yaml:6:9"


def test_recipe_that_builds_on_one_of_ours(user_dir: MakeUserDir) -> None:
    root_dir = user_dir(**{"recipe/child": "defaults:\n- llava\n- _self_\ntitle: Child\n"})
    composed = compose(["recipe=child"], [root_dir])
    assert composed.settings.recipe.family == "llava"
    assert "recipe/llava.yaml:" in composed.where(("recipe", "family"))


def test_experiment(user_dir: MakeUserDir) -> None:
    text = """\
    # @package _global_
    defaults:
      - override /quant: int8_wo
    tp: 4
    run: {top_k: 5}
    """
    root_dir = user_dir(**{"experiment/big": text})
    composed = compose(["recipe=mine", "+experiment=big"], [root_dir])
    assert composed.settings.tp == 4
    assert composed.settings.quant.name == "int8_wo"
    assert composed.where(("tp",)) == "my/experiment/big.yaml:4:5"
    assert composed.where(("run", "top_k")) == "my/experiment/big.yaml:5:14"
    assert composed.where(("quant", "name")).endswith("quant/int8_wo.yaml:2:7")
    with pytest.raises(RecipeError, match="there is no experiment 'bgi'"):
        compose(["recipe=mine", "+experiment=bgi"], [root_dir])


def test_primary_config_of_a_user(user_dir: MakeUserDir) -> None:
    root_dir = user_dir(night="defaults: [config, _self_]\ntp: 8\n")
    composed = compose(["recipe=mine"], [root_dir], "night")
    assert composed.settings.tp == 8
    assert composed.where(("tp",)) == "my/night.yaml:2:5"


def test_searchpath_of_hydra_is_searched_too(user_dir: MakeUserDir) -> None:
    path = user_dir()
    composed = compose(["recipe=mine", f"hydra.searchpath=[{path}]"])
    assert composed.settings.recipe.title == "Mine"


def test_directories_with_strange_names(tmp_path: Path, user_dir: MakeUserDir) -> None:
    strange = tmp_path / "it's, [a] ${dir} = ü"
    user_dir().rename(strange)
    assert compose(["recipe=mine"], [strange]).settings.recipe.title == "Mine"


def test_merge_keys_and_anchors_have_places(user_dir: MakeUserDir) -> None:
    root_dir = user_dir(
        ("  small:\n", "  small: &small\n"),
        (
            "      max_position_embeddings: 256\n",
            "      max_position_embeddings: 256\n  other:\n    <<: *small\n    license: mit\n",
        ),
    )
    composed = compose(["recipe=mine"], [root_dir])
    assert composed.settings.recipe.variants["other"].repo_id == "me/small"
    path = ("recipe", "variants", "other", "repo_id")
    assert composed.where(path) == "my/recipe/mine.yaml:19:14"


def test_interpolation_of_hydra_itself(user_dir: MakeUserDir) -> None:
    composed = compose(["recipe=mine", "until=${hydra:runtime.choices.quant}"], [user_dir()])
    assert composed.settings.until == "none"


def test_no_warning_reaches_users() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compose(["recipe=llava"])
    script = "from mmtrt.config.compose import compose; compose(['recipe=llava', 'tp=2'])"
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.stdout + done.stderr == ""


def test_keyboard_interrupt_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    import hydra

    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(hydra, "compose", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compose(["recipe=llava", "hydra.job.name=x"])


def test_any_exception_of_hydra_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import hydra

    def broken(*args: object, **kwargs: object) -> None:
        raise AssertionError("inside of Hydra")

    monkeypatch.setattr(hydra, "compose", broken)
    with pytest.raises(RecipeError, match="inside of Hydra") as caught:
        compose(["recipe=llava", "hydra.job.name=x"])
    assert caught.value.code == "CFG100"


def test_state_of_hydra_is_left_as_it_was() -> None:
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig

    before = HydraConfig.instance().cfg
    compose(["recipe=llava", "until=${hydra:job.name}"])
    assert not GlobalHydra.instance().is_initialized()
    assert HydraConfig.instance().cfg is before


def test_points_of_a_sweep() -> None:
    assert points(["recipe=a,b", "tp=range(1,3)", "pp=1"]) == [
        ("recipe=a", "tp=1", "pp=1"),
        ("recipe=a", "tp=2", "pp=1"),
        ("recipe=b", "tp=1", "pp=1"),
        ("recipe=b", "tp=2", "pp=1"),
    ]
    assert points(["run.prompt='a,b','c d'"]) == [("run.prompt='a,b'",), ("run.prompt='c d'",)]
    assert points(["tp=interval(0,1)"]) is None
    assert points([]) == [()]


def test_every_setting_is_in_the_primary_config_with_a_comment_or_a_parent() -> None:
    text = (recipes_root() / "config.yaml").read_text()
    data = yaml.safe_load(text)
    lines = text.splitlines()
    groups = {next(iter(each)) for each in data["defaults"] if isinstance(each, dict)}
    for name in keys.flat_keys():
        first, *rest = name.split(".")
        if first in GROUPS:
            assert first in groups, name
            continue
        place = data[first]
        for part in rest:
            assert part in place, name
            place = place[part]
        if rest:
            continue
        index = next(i for i, line in enumerate(lines) if line.startswith(f"{first}:"))
        above = itertools.takewhile(str.strip, reversed(lines[:index]))
        assert "#" in lines[index] or any(line.startswith("#") for line in above), name


def test_packages_may_announce_recipes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user_dir: MakeUserDir
) -> None:
    site = tmp_path / "site"
    info = site / "more_recipes-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: more-recipes\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mmtrt.recipes]\nmore = more_recipes.yaml_files\n")
    package = site / "more_recipes"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('must not be imported')\n")
    user_dir().rename(package / "yaml_files")
    monkeypatch.syspath_prepend(str(site))
    assert root.announced_dirs(tuple(sys.path)) == (package / "yaml_files",)
    assert package / "yaml_files" in search_dirs()
    assert compose(["recipe=mine"]).settings.recipe.title == "Mine"
