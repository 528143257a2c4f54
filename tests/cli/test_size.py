"""``mmtrt size``: the limits, and overrides that make them agree."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from mmtrt.cli import dispatch, fixing
from mmtrt.rules.base import Finding
from tests.worlds import RECIPES

BAD = ("recipe=llava", "max_batch_size=8", "max_multimodal_len=576", "vision.max_batch_size=2")


@pytest.fixture(autouse=True)
def own_world(tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)


def sizes_found(capsys, *words: str) -> list[str]:
    """Return the codes of findings about sizes."""
    dispatch(["check", *words, "--json"])
    found = json.loads(capsys.readouterr().out)["findings"]
    return [each["code"] for each in found if each["code"].startswith("SIZ")]


# Fixing


@pytest.mark.parametrize(
    "words",
    [
        BAD,
        ("recipe=llava", "max_input_len=100"),
        ("recipe=llava", "max_input_len=100", "max_seq_len=101"),
        ("recipe=llava", "max_seq_len=9000"),
        ("recipe=llava_next", "max_batch_size=3", "max_multimodal_len=1", "max_input_len=7"),
        ("recipe=llava_onevision", "workload.batch_size=2", "max_multimodal_len=5"),
        ("recipe=qwen2_vl", "max_batch_size=3", "max_multimodal_len=5", "max_input_len=9"),
        ("recipe=blip2", "variant=flan_t5_xl", "max_multimodal_len=5", "max_seq_len=1"),
    ],
)
def test_printed_line_makes_findings_about_sizes_vanish(capsys, words):
    assert sizes_found(capsys, *words)
    assert dispatch(["size", *words, "--fix"]) == 0
    out, err = capsys.readouterr()
    (line,) = out.splitlines()
    assert line.startswith(words[0]) and "SIZ" in err
    assert sizes_found(capsys, *shlex.split(line)) == []


def test_line_takes_the_place_of_what_was_wrong_and_keeps_the_rest(capsys):
    assert dispatch(["size", *BAD, "run.prompt=two words", "--fix"]) == 0
    out, err = capsys.readouterr()
    assert out == (
        "recipe=llava max_batch_size=8 'run.prompt=two words' "
        "max_multimodal_len=4608 vision.max_batch_size=8\n"
    )
    assert err == (
        "SIZ101: max_multimodal_len is 576, need >= 4608: max_multimodal_len=4608\n"
        "SIZ102: vision.max_batch_size is 2, need >= 8: vision.max_batch_size=8\n"
    )


def test_nothing_to_fix(capsys):
    assert dispatch(["size", "recipe=llava", "tp=2", "--fix"]) == 0
    assert capsys.readouterr() == (
        "recipe=llava tp=2\n",
        "the sizes agree; there is nothing to fix\n",
    )


def test_fixes_that_undo_one_another_are_told_and_nothing_is_printed(capsys):
    assert dispatch(["size", "recipe=llava", "run.max_new_tokens=5000", "--fix"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "error[SIZ104]" in err and "warning[SIZ105]" in err
    assert err.endswith("no numbers make these findings vanish; nothing is changed\n")


def finding(fix: str) -> Finding:
    return Finding(code="SIZ999", severity="error", message="x", at="", why="", fix=fix)


def test_fix_that_is_no_override_is_left(capsys, monkeypatch):
    monkeypatch.setattr(fixing, "find", lambda plan: [finding("take a smaller picture")])
    assert dispatch(["size", "recipe=llava", "--fix"]) == 2
    assert capsys.readouterr().out == ""


def test_rounds_are_bounded(capsys, monkeypatch):
    sizes = iter(range(1000, 2000))
    monkeypatch.setattr(fixing, "find", lambda plan: [finding(f"max_seq_len={next(sizes)}")])
    assert dispatch(["size", "recipe=llava", "--fix"]) == 2
    assert next(sizes) == 1000 + fixing.MAX_ROUNDS
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("fix", "words"),
    [
        ("max_seq_len=5", ["max_seq_len=5"]),
        ("max_seq_len=5 vision.max_batch_size=2", ["max_seq_len=5", "vision.max_batch_size=2"]),
        ("'workload.image_size=[480,640]'", ["workload.image_size=[480,640]"]),
        ("mmtrt ls   # shows more", []),
        ("max_seq_len=<at most 5>", []),
        ("it's broken", []),
    ],
)
def test_only_overrides_are_taken_from_a_fix(fix, words):
    assert fixing._overrides(fix) == words


def test_json_of_a_fix(capsys):
    assert dispatch(["size", *BAD, "--fix", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["changed"] == ["max_multimodal_len=4608", "vision.max_batch_size=8"]
    assert document["overrides"] == [*BAD[:2], *document["changed"]]
    assert len(document["steps"]) == 2 and document["left"] == []
    assert dispatch(["size", "recipe=llava", "run.max_new_tokens=5000", "--fix", "--json"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["overrides"] == []
    assert {each["code"] for each in document["left"]} == {"SIZ104", "SIZ105"}


# Written as YAML


def test_written_file_is_laid_over_the_recipe(capsys):
    file = Path("my/experiment/bigger.yaml")
    file.parent.mkdir(parents=True)
    assert dispatch(["size", *BAD, "--fix", "-o", str(file)]) == 0
    out, err = capsys.readouterr()
    launch = "-cd my recipe=llava max_batch_size=8 +experiment=bigger"
    assert out == "" and err.endswith(f"written to {file}; use it: mmtrt {launch}\n")
    assert file.read_text() == (
        "# @package _global_\n"
        "# Written by `mmtrt size --fix`; use it:\n"
        f"# mmtrt {launch}\n"
        "max_multimodal_len: 4608\n"
        "vision:\n"
        "  max_batch_size: 8\n"
    )
    assert sizes_found(capsys, *shlex.split(launch)) == []
    assert dispatch(["size", *shlex.split(launch), "--json"]) == 0
    limits = json.loads(capsys.readouterr().out)["limits"]
    assert limits["max_multimodal_len"]["value"] == 4608
    assert list(file.parent.iterdir()) == [file]


def test_own_file_is_written_again_and_no_other(capsys):
    file = Path("experiment/bigger.yaml")
    file.parent.mkdir()
    assert dispatch(["size", *BAD, "--fix", "-o", str(file)]) == 0
    assert dispatch(["size", *BAD, "--fix", "-o", str(file)]) == 0
    file.write_text("mine: 1\n")
    assert dispatch(["size", *BAD, "--fix", "-o", str(file)]) == 2
    assert file.read_text() == "mine: 1\n"
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    "place",
    ["bigger.txt", "x/bigger.yaml", "recipe/bigger.yaml", "experiment/1.yaml", "a b/c.yaml"],
)
def test_place_that_hydra_would_not_find_is_refused(capsys, place):
    for name in ("recipe", "experiment", "a b"):
        Path(name).mkdir()
    assert dispatch(["size", *BAD, "--fix", "-o", place]) == 2
    assert capsys.readouterr().err.startswith("error[CFG003]")
    assert not list(Path().rglob("*.*"))


def test_nothing_is_written_where_something_is_left_or_nothing_is_wrong():
    file = Path("experiment/x.yaml")
    file.parent.mkdir()
    for words in (["run.max_new_tokens=5000"], []):
        dispatch(["size", "recipe=llava", *words, "--fix", "-o", str(file)])
        assert list(file.parent.iterdir()) == []


def test_output_goes_with_fix(capsys):
    assert dispatch(["size", "recipe=llava", "-o", "x.yaml"]) == 2
    assert "fix: mmtrt size recipe=llava -o x.yaml --fix" in capsys.readouterr().err


def test_users_directories_are_part_of_the_line(capsys):
    Path("my/recipe").mkdir(parents=True)
    text = (RECIPES / "recipe/llava.yaml").read_text().replace("name: llava\n", "name: mine\n")
    Path("my/recipe/mine.yaml").write_text(text)
    assert dispatch(["size", "-cd", "my", "recipe=mine", "max_input_len=9", "--fix"]) == 0
    assert capsys.readouterr().out.startswith("-cd my recipe=mine ")


# Facts of a local model


@pytest.fixture
def model() -> str:
    Path("model").mkdir()
    config = {
        "model_type": "llava",
        "vision_config": {"image_size": 448, "patch_size": 14},
        "text_config": {"hidden_size": 4096, "num_hidden_layers": 30},
    }
    Path("model/config.json").write_text(json.dumps(config))
    return "model.path=model"


def test_size_tells_where_facts_come_from(capsys, model):
    assert dispatch(["size", "recipe=llava", model]) == 0
    out = capsys.readouterr().out
    assert out.startswith(
        "visual features per request: 1024 = 1 image(s) x 1024"
        " ((448/14) x (448/14) patches; facts from model/config.json)\n"
    )
    assert (
        "facts from model/config.json:\n"
        "  image_size [448, 448], the recipe says [336, 336]\n"
        "  num_hidden_layers 30, the recipe says 32\n" in out
    )


def test_size_json_tells_where_facts_come_from(capsys, model):
    assert dispatch(["size", "recipe=llava", model, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["visual_features_per_request"] == 1024
    assert document["limits"]["max_multimodal_len"]["value"] == 1024
    assert document["facts"] == {
        "from": ["model/config.json"],
        "differ": {
            "image_size": {"recipe": [336, 336], "model": [448, 448]},
            "num_hidden_layers": {"recipe": 32, "model": 30},
            # A count of weights means nothing for a model of another shape.
            "parameters": {"recipe": 7063427072, "model": None},
        },
    }


def test_changed_model_is_seen_although_the_composition_is_cached(capsys, model):
    for size, features in ((448, 1024), (560, 1600)):
        config = json.loads(Path("model/config.json").read_text())
        config["vision_config"]["image_size"] = size
        Path("model/config.json").write_text(json.dumps(config))
        assert dispatch(["size", "recipe=llava", model, "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert document["visual_features_per_request"] == features
