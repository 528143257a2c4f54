"""The named sweeps that ship, and those of a user."""

from __future__ import annotations

import json

import pytest

from mmtrt.cli import dispatch
from mmtrt.config.compose import Composer
from mmtrt.config.experiments import experiments


@pytest.mark.parametrize("name", [each.name for each in experiments()])
def test_every_experiment_works_on_a_laptop(name, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (entry,) = [each for each in experiments() if each.name == name]
    assert entry.error is None
    assert entry.launch == f"mmtrt -m experiment={name} recipe=llava variant=tiny"
    assert dispatch(["plan", *entry.launch.split()[1:], "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document["varied"]) == set(entry.params)
    (choices,) = entry.params.values()
    assert len(document["points"]) == len(choices.split(","))
    assert {row["severity"] for row in document["findings"]} <= {"info"}


def test_the_command_line_takes_the_place_of_an_experiments_choices(tmp_path):
    composer = Composer()
    words = ["experiment=quantization", "recipe=llava", "quant=fp8,none", "tp=1,2"]
    points = composer.expand(words)
    assert points is not None
    assert [point[0] for point in points] == ["quant=fp8"] * 2 + ["quant=none"] * 2
    assert composer.expand(["+experiment=batch_ladder", "recipe=llava"]) == [
        (f"workload.batch_size={n}", "+experiment=batch_ladder", "recipe=llava")
        for n in (1, 2, 4, 8)
    ]
    composed = composer.compose(points[0])
    assert composed.settings.quant.name == "fp8"


def test_experiments_of_a_user_are_listed_with_the_others(tmp_path, capsys):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment/mine.yaml").write_text("# @package _global_\n# My own.\ntp: 2\n")
    (tmp_path / "experiment/odd.yaml").write_text("a: [")
    assert dispatch(["ls", "experiments", "-cd", str(tmp_path), "--json"]) == 0
    found = {e["name"]: e for e in json.loads(capsys.readouterr().out)["experiments"]}
    assert found["mine"] == {
        "name": "mine",
        "summary": "My own",
        "launch": "",
        "varies": {},
        "error": None,
    }
    assert "CFG105" in found["odd"]["error"]
    assert "quantization" in found
    assert dispatch(["ls", "experiments"]) == 0
    assert "batch_ladder  workload.batch_size=1,2,4,8  " in capsys.readouterr().out


def test_globs_choose_files():
    points = Composer().expand(["recipe=glob(llava*,exclude=*o*n)", "tp=range(1,3)"])
    assert points == [
        (f"recipe={name}", f"tp={tp}") for name in ("llava", "llava_next") for tp in (1, 2)
    ]
    assert Composer().expand(["tp=interval(0,1)"]) is None
