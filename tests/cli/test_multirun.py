"""A sweep over a user's own recipe finds the user's own assets, as a plain run does."""

from __future__ import annotations

import json
import shutil

import pytest

from mmtrt.cli import dispatch
from tests.worlds import RECIPES


def test_sweep_finds_assets_of_the_users_directory(tmp_path, capfd):
    own = tmp_path / "own"
    (own / "recipe").mkdir(parents=True)
    (own / "assets").mkdir()
    shutil.copy(RECIPES / "assets/pictures/red_circle_left_on_white.png", own / "assets/mine.png")
    text = (RECIPES / "recipe/llava.yaml").read_text()
    shipped = "asset://pictures/red_circle_left_on_white.png"
    text = text.replace("name: llava\n", "name: mine\n").replace(shipped, "asset://mine.png")
    (own / "recipe/mine.yaml").write_text(text)
    words = ["recipe=mine", "variant=tiny", "until=download", "max_batch_size=1,2"]
    words += [f"paths.store={tmp_path}/store", f"paths.runs={tmp_path}/runs"]
    assert dispatch(["-m", "-cd", str(own), *words]) == 0, capfd.readouterr().err
    (sweep,) = (tmp_path / "runs").iterdir()
    points = json.loads((sweep / "results.json").read_text())["points"]
    assert [(point["recipe"], point["status"]) for point in points] == [("mine", "done")] * 2


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("size -m recipe=llava tp=1,2", "mmtrt size is of one point"),
        ("export -m recipe=llava tp=1,2", "mmtrt export is of one point"),
        ("plan -m recipe=llava tp=1,2 -o plan.json", "a saved plan is of one point"),
        ("lock -m", "mmtrt lock -m needs overrides"),
        ("lock --check --prune", "--prune writes and --check does not"),
    ],
)
def test_what_a_sweep_does_not_go_with(tmp_path, monkeypatch, capfd, line, told):
    monkeypatch.chdir(tmp_path)
    assert dispatch(line.split()) == 2
    assert told in capfd.readouterr().err
    assert not list(tmp_path.iterdir())
