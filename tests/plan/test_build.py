"""From recipe to plan: skipped stages hand on, what nothing needs is dropped, circles are named."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from mmtrt.artifacts.keys import flags_of, key_of
from mmtrt.artifacts.store import Store
from mmtrt.backends.base import Command, In
from mmtrt.config.schema import StageSpec
from mmtrt.errors import MmtrtError, PlanError, RecipeError
from mmtrt.plan.assess import assess
from mmtrt.plan.build import make_plan
from mmtrt.plan.graph import Node, ordered
from mmtrt.plan.keys import key_document
from mmtrt.plan.render import symbolic
from tests.worlds import HOST, RECIPES, Shell, recipe


@pytest.fixture
def tiny(tmp_path):
    """Return a maker of tiny recipes whose model is a small local directory."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "llava"}')
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"png")

    def make(**changes):
        own = {"model__path": str(model), "run__image": str(picture), **changes}
        return recipe("llava", variant="tiny", **own)

    return make


def with_stages(base, **stages):
    return replace(base, stages={**base.stages, **stages})


def test_order_follows_what_commands_read(tiny):
    plan = make_plan(tiny(), HOST)
    ids = [node.id for node in plan.nodes]
    for node in plan.active():
        assert all(ids.index(need) < ids.index(node.id) for need in node.needs)
    assert plan["build_vision"].needs == ("convert",)
    assert plan["run"].needs == ("assemble", "download")


def test_skipped_stage_hands_its_input_on(tiny):
    plain = make_plan(tiny(), HOST)
    assert plain["quantize"].skip == "quant=none"
    assert plain["build_llm"].feeds == {"checkpoint": "convert"}
    small = make_plan(tiny(quant="int8_wo"), HOST)
    assert small["build_llm"].feeds == {"checkpoint": "quantize"}


def test_patch_without_edits_is_skipped_and_handed_past(tiny):
    base = with_stages(
        tiny(),
        patch=StageSpec(kind="patch", needs={"model": "download"}),
        convert=StageSpec(kind="convert", needs={"model": "patch"}),
    )
    plan = make_plan(base, HOST)
    assert plan["patch"].skip == "no edits"
    assert plan["convert"].needs == ("download",)


def test_until_drops_what_comes_after(tiny):
    plan = make_plan(tiny(until="convert"), HOST)
    assert [node.id for node in plan.active()] == ["download", "convert"]
    assert plan["run"].skip == "until=convert"


def test_only_refuses_what_the_store_lacks(tiny, tmp_path):
    plan = make_plan(tiny(only="convert"), HOST)
    with pytest.raises(PlanError) as caught:
        assess(plan, Store(tmp_path / "store"))
    assert caught.value.code == "CFG125"
    assert caught.value.fix == "add it: 'only=[download,convert]'"


@pytest.mark.parametrize("key", ["until", "only", "force"])
def test_unknown_stage_names_get_the_nearest(tiny, key):
    with pytest.raises(PlanError) as caught:
        make_plan(tiny(**{key: "build_lm"}), HOST)
    assert caught.value.fix == f"{key}=build_llm"


def test_missing_picture_is_named(tiny, tmp_path):
    with pytest.raises(RecipeError) as caught:
        make_plan(tiny(run__image=str(tmp_path / "gone.png")), HOST)
    assert caught.value.code == "CFG107"
    assert str(tmp_path / "gone.png") in caught.value.message


def test_an_address_is_no_file(tiny):
    with pytest.raises(RecipeError, match="not a file, but an address") as caught:
        make_plan(tiny(run__image="https://example.org/a.png"), HOST)
    assert caught.value.code == "CFG107"
    assert "fetches nothing" in caught.value.why


def test_unknown_port_and_unknown_source_are_refused(tiny):
    wrong_port = with_stages(
        tiny(), convert=StageSpec(kind="convert", needs={"modell": "download"})
    )
    with pytest.raises(PlanError, match="has no input 'modell'"):
        make_plan(wrong_port, HOST)
    wrong_source = with_stages(
        tiny(), convert=StageSpec(kind="convert", needs={"model": "downlod"})
    )
    with pytest.raises(PlanError, match="needs 'downlod'"):
        make_plan(wrong_source, HOST)


def test_missing_input_is_refused(tiny):
    with pytest.raises(PlanError) as caught:
        make_plan(with_stages(tiny(), convert=StageSpec(kind="convert")), HOST)
    assert caught.value.code == "CFG123"


def test_circle_is_named():
    def node(name: str, needs: str) -> Node:
        stage = Shell(id=name, model_name="m", script="", needs={needs: needs})
        return Node(stage, Command(argv=(In(needs),)), None, {needs: needs})

    with pytest.raises(PlanError, match="a -> b -> a"):
        ordered([node("a", "b"), node("b", "a")])


def test_key_ignores_places_and_names_but_not_contents(tiny, tmp_path):
    def key(base, store):
        return assess(make_plan(base, HOST), Store(tmp_path / store))["download"].key

    first = key(tiny(), "one")
    assert key(tiny(), "two") == first
    moved = tmp_path / "elsewhere" / "model"
    moved.mkdir(parents=True)
    (moved / "config.json").write_text('{"model_type": "llava"}')
    assert key(tiny(model__path=str(moved)), "one") == first
    (moved / "config.json").write_text('{"model_type": "llava", "x": 1}')
    assert key(tiny(model__path=str(moved)), "one") != first


def test_choices_that_a_backend_ignores_stay_out_of_its_keys(tiny):
    plans = [make_plan(tiny(quant=quant), HOST) for quant in ("none", "int8_wo")]
    plain, small = (plan["convert"] for plan in plans)
    assert plain.stage != small.stage
    digests = {place.symbol(): "0" for place in plain.command.places()}
    one, other = (key_document(plan["convert"], plan.choice, digests) for plan in plans)
    assert one == other


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["--a-b=c d"], ["--a_b=c d"]),
        (["--a=b c"], ["-a=b c"]),
        (["--a=b c", "--d=e f"], ["--d=e f", "--a=b c"]),
    ],
)
def test_prompts_that_begin_with_dashes_have_keys_of_their_own(one, other):
    # argparse takes each for a value: there is a space in it.
    parser = argparse.ArgumentParser()
    parser.add_argument("--input_text", nargs="+")
    settings = {"backend": "trtllm", "run__batch_size": len(one)}
    keys, read = [], []
    for prompts in (one, other):
        plan = make_plan(recipe("llava", run__prompt=prompts, **settings), HOST)
        node = plan["run"]
        digests = {place.symbol(): "0" for place in node.command.places()}
        document = key_document(node, plan.choice, digests)
        keys.append(key_of(document))
        words = document["argv"][document["argv"].index("--input_text") :]
        read.append(parser.parse_known_args(words)[0].input_text)
    assert read == [one, other]
    assert keys[0] != keys[1]


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        (
            "python -m x --a 1 --b-c=d",
            {"program": ["python"], "m": ["x"], "a": ["1"], "b_c": ["d"]},
        ),
        ("x --n -1 --p=-1 --q", {"program": ["x"], "n": ["-1"], "p": ["-1"], "q": []}),
        ("x --f=a --f=b --f c d", {"program": ["x"], "f": ["a", "b", "c", "d"]}),
    ],
)
def test_a_command_by_its_flags(words, flags):
    assert flags_of(words.split()) == flags


def test_braces_in_a_prompt_are_no_symbols(tiny):
    plan = make_plan(tiny(run__prompt="{in.model} {out}"), HOST)
    assert "--input-text={{in.model}} {{out}}" in symbolic(plan["run"].command)


def test_prompts_with_dashes_quotes_and_newlines_stay_one_word(tiny):
    prompt = "--help 'a' \"b\"\n$HOME \\n"
    words = symbolic(make_plan(tiny(run__prompt=prompt), HOST)["run"].command)
    assert f"--input-text={prompt}" in words


@pytest.mark.parametrize("backend", ["trtllm", "native", "fake"])
@pytest.mark.parametrize("workflow", ["engine", "pytorch"])
@pytest.mark.parametrize("path", sorted((RECIPES / "recipe").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_workflow_is_planned_or_refused(path: Path, workflow: str, backend: str) -> None:
    file = yaml.safe_load(path.read_text())
    for variant, options in file["variants"].items():
        own = options.get("workflow") or file.get("workflow", "engine")
        if backend == "native":
            own = file.get("native", {}).get("workflow", own)
        asked = {"variant": variant, "workflow": workflow, "backend": backend}
        asked |= {"model__path": "/m.nemo", "model__projector": "/p.nemo", "run__video": "/v.mp4"}
        try:
            make_plan(recipe(path.stem, **asked), HOST)
        except MmtrtError as error:
            told = (error.code, error.fix)
            wanted = [("CFG127", f"workflow={own}"), ("ENG103", "backend=trtllm")]
            assert workflow == own or told in wanted
        else:
            assert workflow == own
