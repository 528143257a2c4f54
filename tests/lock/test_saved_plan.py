"""``mmtrt plan -o`` and ``mmtrt run --plan``: exactly what was planned, or what has changed."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from mmtrt.artifacts.manifest import Manifest, tree_digest
from mmtrt.backends.fake import Fake
from mmtrt.lock.lock_file import LockFile
from mmtrt.stages import Convert
from tests.lock.conftest import Place
from tests.worlds import RECIPES

SHEEP = "recipe=sheep backend=fake -cd zoo run.image=a.png"
PICTURES = RECIPES / "assets/pictures"


@pytest.fixture
def zoo(place: Place) -> Place:
    """A recipe of one's own, a picture, and a plan of them."""
    (place.path / "zoo/recipe").mkdir(parents=True)
    text = (RECIPES / "recipe/vila.yaml").read_text().replace("name: vila\n", "name: sheep\n", 1)
    (place.path / "zoo/recipe/sheep.yaml").write_text(text)
    shutil.copy(PICTURES / "red_circle_left_on_white.png", place.path / "a.png")
    place.done(f"plan {SHEEP} -o plan.json")
    return place


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def refused(place: Place, *rows: str, code: int = 4) -> str:
    """Assert that the plan is not carried out, for these stages and fields, and return stderr."""
    before = place.keys()
    status, out, err = place.run("run --plan plan.json")
    assert (status, out) == (code, ""), err
    told = [" ".join(line.split()) for line in err.splitlines()]
    assert [row for row in rows if not any(line.startswith(row) for line in told)] == [], err
    assert place.keys() == before and not (place.path / "runs").exists()
    return err


def test_plan_is_what_runs(zoo: Place):
    saved = json.loads((zoo.path / "plan.json").read_text())
    assert (saved["schema"], saved["recipe"], saved["store"]) == (
        1, "sheep", str(zoo.path / "store"),
    )  # fmt: skip
    (clone,) = (node for node in saved["nodes"] if node["id"] == "clone")
    assert clone["document"]["kind"] == "clone" and "{out}" in clone["argv"]
    zoo.done("run --plan plan.json -q")
    planned = {f"{node['kind']}/{node['key']}" for node in saved["nodes"] if node["key"]}
    assert planned and planned <= zoo.keys()
    # A plan of hits says so; what was collected since then runs, and that is said, too.
    zoo.done(f"plan {SHEEP} -o plan.json")
    keys = zoo.keys()
    zoo.done("cache gc --all")
    code, _, err = zoo.run("run --plan plan.json")
    assert code == 0 and "not now, so that they run: download, clone," in err
    assert "other keys than planned" not in err and zoo.keys() == keys


def test_standard_output(place: Place):
    document = json.loads(place.done("plan recipe=vila backend=fake -o -"))
    assert document["kind"] == "mmtrt plan"
    (place.path / "plan.json").write_text(json.dumps(document))  # another layout, same content
    assert place.run("run --plan plan.json -q")[0] == 0


def test_recipe_file(zoo: Place):
    recipe = zoo.path / "zoo/recipe/sheep.yaml"
    recipe.write_text("# a comment changes nothing\n" + recipe.read_text())
    change(recipe, "max_input_len: 2048", "max_input_len: 2040")
    change(recipe, "kind: convert", "kind: convert, flags: {n_layer: 3}")
    refused(
        zoo,
        "settings recipe.limits.max_input_len 2048 2040",
        "build_llm flags.max_input_len 2048 2040",
        "convert flags.n_layer - 3",
    )
    change(recipe, "max_input_len: 2040", "max_input_len: 2048")
    change(recipe, ", flags: {n_layer: 3}", "")
    zoo.done("run --plan plan.json -q")


def test_content_of_a_local_file(zoo: Place):
    shutil.copy(PICTURES / "blue_square_right_on_white.png", zoo.path / "a.png")
    err = refused(zoo, "run inputs.{local.image0}/a.png")
    assert "1 difference;" in err
    (zoo.path / "a.png").unlink()
    refused(zoo, "error[CFG107]: no such file or directory: a.png", code=2)


def test_tools_and_gpu(zoo: Place):
    patch = zoo.monkeypatch
    patch.setattr(Fake, "tool_versions", lambda self, tools: {"tensorrt-llm": "1.2.0"})
    patch.setattr(Fake, "gpu_class", lambda self: {"sm": 80})
    refused(
        zoo,
        "plan gpu - sm",
        "convert toolchain.versions.tensorrt-llm 1.2.1 1.2.0",
        "build_llm gpu - sm",
    )


def test_mmtrt_itself(zoo: Place):
    zoo.monkeypatch.setattr("mmtrt.plan.saved.__version__", "9.9.9")
    zoo.monkeypatch.setattr(Convert, "VERSION", Convert.VERSION + 1)
    refused(zoo, "plan mmtrt 0.1.0 9.9.9", "convert stage_version")


def test_other_store_and_added_stage(zoo: Place):
    code, _, err = zoo.run("run --plan plan.json", store="other")
    assert code == 4 and "store" in err
    recipe = zoo.path / "zoo/recipe/sheep.yaml"
    change(
        recipe,
        "  clone: {kind: clone",
        "  note: {kind: write, files: {a: b}}\n  clone: {kind: clone",
    )
    refused(zoo, "note stage - write")


def test_input_that_was_built_otherwise(zoo: Place):
    """The key of a stage that waits is not known; once it is, other content is a change."""
    zoo.done(f"run {SHEEP} -q until=convert")
    zoo.done(f"plan {SHEEP} -o plan.json")
    saved = json.loads((zoo.path / "plan.json").read_text())
    known = {node["id"] for node in saved["nodes"] if node["key"]}
    assert "build_llm" in known and "run" not in known
    (manifest,) = (zoo.path / "store/convert").glob("*/manifest.json")
    document = json.loads(manifest.read_text())
    old = Manifest.read(manifest)
    files = (dataclasses.replace(old.files[0], digest="0" * 64), *old.files[1:])
    document = json.loads(
        json.dumps(document)
        .replace(old.digest, tree_digest(files))
        .replace(old.files[0].digest, "0" * 64)
    )
    manifest.chmod(0o644)
    manifest.write_text(json.dumps(document))
    shutil.rmtree(zoo.path / "runs")
    refused(zoo, "build_llm inputs.{in.checkpoint}")


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (lambda text: text[: len(text) // 2], "LCK106", "cut short"),
        (lambda text: "", "LCK106", "it is empty"),
        (lambda text: text.replace('"fake"', '"none"', 1), "LCK106", "digest"),
        (lambda text: text.replace('"schema": 1,\n', '"schema": 2,\n'), "LCK107", "schema 2"),
        (lambda text: '{"schema": 1}', "LCK106", "something else"),
        (lambda text: "[]", "LCK106", "something else"),
    ],
)  # fmt: skip
def test_file_that_is_not_whole(zoo: Place, text, code, words):
    path = zoo.path / "plan.json"
    path.write_text(text(path.read_text()))
    err = refused(zoo, code=2)
    assert f"error[{code}]" in err and words in err and "fix: " in err


def test_usage(zoo: Place):
    for more in ("tp=2", "-cd zoo", "until=convert", "sheep", "--unlocked", "--lock x.lock"):
        code, _, err = zoo.run(f"run --plan plan.json {more}")
        assert code == 2 and "takes nothing that changes the plan" in err, more
    assert zoo.run("run --plan nowhere.json")[0] == 2
    code, _, err = zoo.run(f"plan {SHEEP} -o nowhere/plan.json")
    assert code == 2 and "nowhere" in err
    code, _, err = zoo.run("plan recipe=vila backend=fake -o p", "model.revision=hf_" + "a" * 30)
    assert code == 2 and "credential" in err and not (zoo.path / "p").exists()
    code, _, err = zoo.run(f"plan {SHEEP} max_multimodal_len=1 -o broken.json")
    assert code == 2 and "not saved" in err and not (zoo.path / "broken.json").exists()


def test_pins_are_part_of_a_plan(place: Place):
    place.done("lock recipe=vila backend=fake")
    place.done("plan --locked recipe=vila backend=fake -o plan.json")
    lock = LockFile(place.path / "mmtrt.lock")
    # The lock goes on; the plan stays with what it was made with.
    lock.update(lambda old: dataclasses.replace(old, mmtrt="9.9.9"))
    place.monkeypatch.setenv("MMTRT_LOCKED", "1")
    code, _, err = place.run("run --plan plan.json")
    assert code == 0 and "locked by mmtrt.lock" in err
    place.done("plan --unlocked recipe=vila backend=fake -o plan.json")
    code, _, err = place.run("run --plan plan.json")
    assert code == 4 and "was not made with a lock" in err
