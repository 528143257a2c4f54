from __future__ import annotations

import json

from mmtrt.cli import dispatch
from tests.worlds import RECIPES


def shown(capsys, *words: str) -> dict:
    assert dispatch(["show", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_recipe_tells_everything_it_decides(capsys):
    assert dispatch(["show", "llava"]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0] == "llava: LLaVA-1.5"
    assert any(line.startswith("  needs   variant=tiny: a CPU") for line in lines)
    assert any(line.startswith("7b*      llava-hf/llava-1.5-7b-hf@") for line in lines)
    assert any(line.startswith("tiny ") and "asset://llava_tiny" in line for line in lines)
    assert "          assemble  llm <- build_llm, vision <- build_vision" in lines
    assert any(
        line.split()[:3] == ["max_multimodal_len", "576", "derived"] and "x 576" in line
        for line in lines
    )
    assert lines[lines.index("Launch") + 1] == "  mmtrt recipe=llava variant=tiny"


def test_overrides_move_the_limits(capsys):
    document = shown(capsys, "llava", "variant=tiny", "workload.batch_size=3")
    assert document["variant"] == "tiny"
    assert document["limits"]["max_batch_size"] == {
        "value": 3,
        "source": "derived",
        "because": "workload.batch_size 3",
    }
    assert document["limits"]["max_multimodal_len"]["value"] == 3 * 36


def test_the_recipe_may_be_an_override_too(capsys):
    assert shown(capsys, "recipe=llava") == shown(capsys, "llava")


def test_a_users_recipe_is_found_and_launched_from_its_directory(capsys, tmp_path):
    (tmp_path / "recipe").mkdir()
    text = (RECIPES / "recipe/llava.yaml").read_text().replace("name: llava", "name: mine")
    (tmp_path / "recipe/mine.yaml").write_text(text)
    document = shown(capsys, "mine", "-cd", str(tmp_path))
    assert document["name"] == "mine"
    assert document["launch"] == [f"mmtrt -cd {tmp_path} recipe=mine"]


def test_an_unknown_recipe_is_told_with_the_nearest(capsys):
    assert dispatch(["show", "lava"]) == 2
    err = capsys.readouterr().err
    assert "CFG106" in err
    assert "fix: llava" in err


def test_an_unknown_variant_is_told_as_when_running(capsys):
    assert dispatch(["show", "llava", "variant=8b"]) == 2
    assert "its variants are 7b, 13b, tiny" in capsys.readouterr().err


def test_exactly_one_recipe_is_shown(capsys):
    assert dispatch(["show"]) == 2
    assert dispatch(["show", "llava", "llava_next"]) == 2
    assert "needs one recipe" in capsys.readouterr().err
