"""Composing many points by hand gives what Hydra gives for each of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mmtrt.config import grammar
from mmtrt.config import hydra_compose as module
from mmtrt.config.compose import Composed, compose_anew
from mmtrt.config.hydra_compose import quiet
from mmtrt.config.points import Composer
from mmtrt.config.root import search_dirs
from mmtrt.errors import RecipeError

CHOICES = st.sampled_from(
    ["recipe=llava", "recipe=llava_next", "recipe=mine", "recipe=lava", "quant=int4_wo"]
    + ["quant=fp8", "backend=fake", "backend=native", "quant=int9", "+extra=more", "experiment=own"]
    + ["+experiment=own", "hydra.job.name=x", "executor=local", "quant={block_size: 64}"]
)
WORKLOADS = st.builds(
    "workload.{}={}".format,
    st.sampled_from(["batch_size", "text_tokens", "max_new_tokens", "image_size", "batchsize"]),
    st.sampled_from(["1", "8", "0", "null", "x", "[48,48]", "[1]", "'8'", "1.5", "${tp}", "???"]),
)
NAMED = st.builds(
    "{}{}={}".format,
    st.sampled_from(["", "+", "++"]),
    st.sampled_from(
        [
            "quant.calib_size",
            "quant.block_size",
            "run.image",
            "run.prompt",
            "variant",
            "tp",
            "until",
        ]
        + ["recipe.variants.tiny.facts.patch_size", "recipe.variants.small.dtype"]
        + [
            "recipe.variants.tinny.dtype",
            "recipe.stages.convert.flags.x",
            "workload",
            "paths.store",
        ]
        + ["recipe.quants.none.flags", "eval.task", "recipe", "recipe.run.prompt", "dtype", "pp"]
        + ["serve", "recipe.name", "vision.max_batch_size", "target"]
    ),
    st.sampled_from(
        ["1", "16", "float16", "null", "[]", "[a.png,b.png]", "{}", "{batch_size: 4}", "'a b'"]
        + ["${tp}", "${workload.batch_size}", "'x${tp}y'", "${nope}", "${oc.env:HOME}", "???"]
        + ["{image_size: [1, 2], text_tokens: null}", "{convert: {x: 1}}", '"\\${tp}"', "tiny"]
        + ["{port: ${tp}}", "true", "0.5", "'s${hydra:job.num}'", "asset://x"]
    ),
)
DELETED = st.sampled_from(
    ["~quant.dtype", "~workload", "~workload.batch_size", "~run.seed", "~run.seed=0", "~run.seed=1"]
    + ["~recipe.variants.tiny", "~recipe.workload.images_per_request", "~nope", "~recipe", "~quant"]
    + ["~recipe.stages.eval", "~paths.store"]
)
QUICK = (Phase.explicit, Phase.reuse, Phase.generate)
"""Without shrinking: each step of it would be a composition by Hydra."""
WORDS = st.lists(st.one_of(CHOICES, WORKLOADS, NAMED, DELETED), max_size=5)

MINE = """\
defaults:
  - llava
  - _self_
name: mine
run: {prompt: "${dtype}", image: null}
"""
OWN = """\
# @package _global_
defaults:
  - override /quant: int8_wo
workload: {batch_size: 3, text_tokens: "${tp}"}
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's directory: a recipe with a reference to another key, an experiment, a group."""
    root = tmp_path_factory.mktemp("own")
    for name, text in {"recipe/mine": MINE, "experiment/own": OWN, "extra/more": "{}\n"}.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / f"{name}.yaml").write_text(text)
    return root


def outcome(make: object, *args: object) -> object:
    """Return everything that can be told apart of a composition, or its errors."""
    try:
        composed = make(*args)  # type: ignore[operator]
    except RecipeError as error:
        return sorted({error.render() for error in [*error.also, _alone(error)]})
    assert isinstance(composed, Composed)
    return (
        composed.data,
        composed.settings,
        composed.overrides,
        composed.sources,
        [(path, composed.where(path)) for path in PATHS],
    )


def _alone(error: RecipeError) -> RecipeError:
    return RecipeError(error.message, error.code, error.at, error.why, error.fix)


PATHS = [
    ("tp",),
    ("workload", "batch_size"),
    ("recipe", "variants", "tiny", "facts", "patch_size"),
    ("quant", "name"),
    ("run", "image", 0),
]


def check(own: Path, composer: Composer, words: list[str], number: int = 0) -> None:
    def by_hydra() -> Composed:
        named = ["+" + word if word.startswith("experiment=") else word for word in words]
        return compose_anew(tuple(named), search_dirs([own]), "config", number)[0]

    ours, theirs = outcome(composer.compose, words, number), outcome(by_hydra)
    if isinstance(ours, list) and isinstance(theirs, list):
        # What was found wrong with an override before is told at once, without the others'.
        assert ours and set(ours) <= set(theirs)
    else:
        assert ours == theirs


@pytest.fixture(scope="module")
def composer(own: Path) -> Composer:
    """One for all examples, as a sweep has: what an example leaves behind must not show."""
    return Composer([own])


@settings(max_examples=10, deadline=None, phases=QUICK, suppress_health_check=list(HealthCheck))
@given(words=WORDS)
def test_points_are_what_hydra_composes(own: Path, composer: Composer, words: list[str]) -> None:
    check(own, composer, ["recipe=llava", *words])


def test_hydra_composes_once_for_each_choice_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = module.hydra_compose
    monkeypatch.setattr(module, "hydra_compose", lambda *a: calls.append(a) or real(*a))
    composer = Composer()
    words = ["recipe=llava", "quant=none,int4_wo", "workload.batch_size=range(1,51)", "tp=1,2"]
    points = composer.expand(words)
    assert points is not None
    composed = [composer.compose(point, number) for number, point in enumerate(points)]
    assert len(composed) == 200
    assert len(calls) == 2
    assert composed[0].settings.recipe is composed[1].settings.recipe  # memory stays flat


SWEPT = st.lists(
    st.sampled_from(
        ["tp=1,2", "tp=4", "quant=none,fp8", "quant=none", "workload.batch_size=range(1,4)"]
        + ["run.prompt='a,b','c d'", "+x=choice(1,2)", "dtype=float16,float32", "pp=1,1,2", "~run"]
        + ["recipe=glob(llava*)", "run.image=[a.png,b.png]", "tp=sort(3,1,2)", "pp=shuffle(1)"]
    ),
    max_size=4,
)


@settings(max_examples=40, deadline=None)
@given(words=SWEPT)
def test_points_are_those_of_hydras_sweeper(words: list[str]) -> None:
    from hydra import initialize_config_dir
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser

    dirs = search_dirs()
    with quiet(), initialize_config_dir(str(dirs[0]), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(words)
        (theirs,) = BasicSweeper.split_arguments(parsed, None)
    ours = grammar.points(words, dirs)
    assert ours is not None
    # Hydra writes values anew, with other quotes; read again they are the same.
    unique = list(dict.fromkeys(tuple(map(str, values_of(point))) for point in theirs))
    assert [tuple(map(str, values_of(point))) for point in ours] == unique


def values_of(point: object) -> list[tuple[str, object]]:
    parsed, problems = grammar.parse(list(point))  # type: ignore[call-overload]
    assert not problems
    return [(each.key, each.value) for each in parsed]


@pytest.mark.slow
@settings(max_examples=1500, deadline=None, phases=QUICK, suppress_health_check=list(HealthCheck))
@given(words=WORDS)
def test_many_points_are_what_hydra_composes(
    own: Path, composer: Composer, words: list[str]
) -> None:
    check(own, composer, words)
