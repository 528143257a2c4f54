"""What composition gives is what Hydra gives; every value stands where its place says.

Hydra itself is the judge, called by its documented API; PyYAML looks at the places.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf, open_dict
from omegaconf._utils import get_yaml_loader

from mmtrt.config.compose import Composed, Composer, compose
from mmtrt.errors import RecipeError
from tests.every import recipe_names
from tests.worlds import RECIPES

CHOICES = st.sampled_from(
    ["recipe=llava", "recipe=llava_next", "recipe=mine", "recipe=lava", "quant=int4_wo"]
    + ["quant=fp8", "backend=fake", "backend=native", "quant=int9", "+extra=more", "experiment=own"]
    + ["+experiment=own", "hydra.job.name=x", "executor=local", "quant={block_size: 64}"]
    + ["recipe=other", "+experiment=batch_ladder", "+extra@run=more", "~experiment"]
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
        ["quant.calib_size", "quant.block_size", "run.image", "run.prompt", "variant", "tp"]
        + ["until", "recipe.variants.tiny.facts.patch_size", "recipe.variants.small.dtype"]
        + ["recipe.variants.tinny.dtype", "recipe.stages.convert.flags.x", "workload"]
        + ["recipe.quants.none.flags", "eval.task", "recipe", "recipe.run.prompt", "dtype", "pp"]
        + ["serve", "recipe.name", "vision.max_batch_size", "target", "paths.store"]
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
SCALARS = st.sampled_from(
    ["1.10", "12e4567", "no", "0012", "1_000", "on", "0x1f", "1e3", "-1", "+1", ".5", "1.", "nan"]
    + ["inf", "-inf", "TRUE", "Null", "a:b", "a/b.c", "a b", " a", "a ", "-", "a=b", "~", "", "''"]
    + ['""', "'a,b'", '"a\'b"', "'it\\'s'", "[1,2.5,a,null,true]", "[ a , b ]", "[a b,c]", "[]"]
    + ["[[1,2],[3]]", "['a',\"b\"]", "[,]", "[a,]", "a\\b", "a@b", "a%b", "*", "a?", "f(x)", "a|b"]
    + ["2024-01-01", "12:30", "1e", "e1", "_1", "1_", "-a", "a#b", "a\tb", "ä", "\\\\", "a$b", "!x"]
)
TYPED = st.builds("{}={}".format, st.sampled_from(["run.prompt", "model.path", "tp"]), SCALARS)
WORDS = st.lists(st.one_of(CHOICES, WORKLOADS, NAMED, DELETED, TYPED), max_size=5)
QUICK = (Phase.explicit, Phase.reuse, Phase.generate)
"""Without shrinking: each step of it would be a composition by Hydra."""

FILES = {
    "recipe/mine": (
        "defaults: [llava, _self_]\nname: mine\nrun: {prompt: '${dtype}', image: null}\n"
        "variants: {tiny: &t {license: mit}, tiny2: {<<: *t, facts: {hidden_size: 1_0}}}\n"
    ),
    "recipe/other": (
        "# Another\ndefaults:\n  - _self_\n  - mine\n  - override /quant: fp8\n"
        "title: x\nrun: {image: [a, b]}\n"
    ),
    "experiment/own": (
        "# @package _global_\ndefaults:\n  - override /quant: int8_wo\n"
        "workload: {batch_size: 3, text_tokens: '${tp}'}\n"
    ),
    "extra/more": "{}\n",
}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's directory: recipes that build on others, an experiment, a group."""
    root = tmp_path_factory.mktemp("own")
    for name, text in FILES.items():
        path = root / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return root


def by_hydra(words: list[str], own: Path, number: int = 0) -> dict[str, Any]:
    """Return what Hydra makes of overrides; it raises what it likes."""
    added = [f"+{w}" if w.startswith("experiment=") else w for w in words]
    # mmtrt's files need not mention what the schema knows, so it may be added.
    added = [re.sub(r"^(?=(quant|recipe)\.|\w[\w.]*=\{)", "++", word) for word in added]
    try:
        with (
            warnings.catch_warnings(),
            initialize_config_dir(str(RECIPES), job_name="mmtrt", version_base="1.3"),
        ):
            warnings.simplefilter("ignore")
            where = f"hydra.searchpath=[file://{own}]"
            config = hydra_compose("config", [*added, where], return_hydra_config=True)
        with open_dict(config):
            config.hydra.job.num, config.hydra.job.id = number, str(number)
            HydraConfig.instance().set_config(config)
            del config["hydra"]
        data: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
        return data
    finally:
        HydraConfig.instance().cfg = None


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[Any, Any]]:
    """Yield path and value of what is no mapping."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    else:
        yield path, value


@cache
def nodes(name: str) -> dict[tuple[str, str], yaml.Node]:
    """Return the nodes of a file by the line and the column at which they start."""
    found: dict[tuple[str, str], yaml.Node] = {}
    pending = [yaml.compose(Path(name).read_text(), Loader=get_yaml_loader())]
    while pending:
        node = pending.pop()
        at = (str(node.start_mark.line + 1), str(node.start_mark.column + 1))
        if not isinstance(node, yaml.MappingNode) or node.flow_style or at not in found:
            found[at] = node
        if isinstance(node, yaml.MappingNode):
            pending += [each for pair in node.value for each in reversed(pair)]
        elif isinstance(node, yaml.SequenceNode):
            pending += node.value
    return found


def written(place: str) -> Any:
    """Return the value that stands at ``file:line:column``, by OmegaConf's reading."""
    name, line, column = place.rsplit(":", 2)
    return get_yaml_loader()("").construct_document(nodes(str(Path(name).absolute()))[line, column])


def check_places(composed: Composed, words: list[str]) -> None:
    """The last override that says a value is its place, else a file that says it."""
    said: dict[str, str] = {}
    parsed = OverridesParser.create().parse_overrides(words)
    for override, word in zip(parsed, words, strict=True):
        if "/" in override.key_or_group or word.startswith("~"):
            continue
        for path, _ in leaves(override.value(), tuple(override.key_or_group.split("."))):
            said[".".join(map(str, path))] = word
    for path, value in leaves(composed.data):
        heads = [".".join(map(str, path[: n + 1])) for n in range(len(path))]
        place = composed.where(path)
        mine = [said[head] for head in heads if head in said]
        if place.startswith("override "):
            text = place.removeprefix("override ")
            assert any(text in (repr(w), repr(f"+{w}")) for w in mine), (path, place)
        else:
            stands = written(place)
            assert "${" in str(stands) or stands == value, (path, place)


def check(own: Path, composer: Composer | None, words: list[str], number: int = 0) -> None:
    try:
        theirs = by_hydra(words, own, number)
    except Exception as error:  # noqa: BLE001 - Hydra raises anything
        theirs, refusal = {}, error
    else:
        refusal = None
    try:
        ours = compose(words, [own]) if composer is None else composer.compose(words, number)
    except RecipeError as error:
        every = [error, *error.also]
        # Hydra knows no schema; whatever it refuses, we refuse.
        codes = {each.code for each in every}
        assert refusal is not None or codes <= {
            *("CFG101", "CFG102", "CFG103", "CFG104", "CFG106", "CFG108", "CFG109", "CFG112")
        }, codes
        return
    assert refusal is None, refusal
    assert ours.data == theirs
    check_places(ours, words)


@pytest.fixture(scope="module")
def composer(own: Path) -> Composer:
    """One for all examples, as a sweep has: what an example leaves behind must not show."""
    return Composer([own])


SETS = [
    ["tp=2", "run.image=[a.png,b.png]"],
    ["quant=int8_wo", "run.prompt='What, now?'", "workload={batch_size: 2}"],
    ["backend=native", "++recipe.run.max_new_tokens=5", "until=${oc.env:HOME}"],
    ["executor.jobs=3", "target.gpu_memory_gib=80.5", "trtllm.version='1.2.0'"],
]


@pytest.mark.parametrize("name", recipe_names())
def test_recipe(own: Path, name: str) -> None:
    words = [f"recipe={name}", *SETS[len(name) % len(SETS)]]
    assert compose(words).data == by_hydra(words, own)
    check_places(compose(words), words)


@settings(max_examples=20, deadline=None, phases=QUICK, suppress_health_check=list(HealthCheck))
@given(words=WORDS)
def test_overrides(own: Path, composer: Composer, words: list[str]) -> None:
    check(own, composer, ["recipe=llava", *words])


@pytest.mark.slow
@settings(max_examples=700, deadline=None, phases=QUICK, suppress_health_check=list(HealthCheck))
@given(words=WORDS)
def test_many_overrides(own: Path, composer: Composer, words: list[str]) -> None:
    check(own, composer, ["recipe=llava", *words])
