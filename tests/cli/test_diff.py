from __future__ import annotations

import json

import pytest

from mmtrt.artifacts.store import Store
from mmtrt.cli import dispatch
from tests.report.records import CHAIN, record
from tests.worlds import world


def building(engine: str):
    return (CHAIN[0], ("build_llm", engine, ["download"]))


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMTRT_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("MMTRT_STORE", str(tmp_path / "store"))
    return tmp_path


@pytest.fixture
def two(root):
    """Two runs whose engines have the same size and another content."""
    return [
        record(root, world(root / "store", *building(script)))
        for script in ("cp $2/w $1/engine", "tr w v < $2/w > $1/engine")
    ]


def told(capsys, *words: str) -> dict:
    dispatch(["diff", *words, "--json"])
    return json.loads(capsys.readouterr().out)


def test_key_fields_and_files_are_told(two, capsys):
    document = told(capsys)
    rows = {row["stage"]: row for row in document["stages"]}
    assert (document["old"], document["new"]) == (two[0].name, two[1].name)
    assert rows["download"]["output"] == "same" and rows["download"]["key"] == []
    assert rows["build_llm"]["output"] == "differs"
    (field,) = {row["field"] for row in rows["build_llm"]["key"]}
    assert field == "flags.c[0]"
    (file,) = rows["build_llm"]["files"]
    assert (file["path"], file["what"], file["old_size"]) == ("engine", "differs", 8)
    assert file["old_digest"] != file["new_digest"]


def test_terminal_shows_why_and_what(two, capsys):
    assert dispatch(["diff"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"a  {two[0].name}\nb  {two[1].name}\n")
    assert "cp $2/w $1/engine" in out and "-> [" in out
    assert "engine: other content (" in out
    assert err == "they differ\n"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), 0),
        (("--exit-code",), 1),
        (("latest", "latest", "--exit-code"), 0),
        (("latest~1", "llava~1", "--exit-code"), 0),
        (("llava~1", "--exit-code"), 1),
    ],
)
def test_exit_code_is_gits(two, capsys, words, code):
    assert dispatch(["diff", *words]) == code


def test_a_run_that_is_not_there_is_told(two, capsys):
    assert dispatch(["diff", "latest~2"]) == 2
    assert "there are only 2 runs" in capsys.readouterr().err


def test_an_artifact_is_compared_with_an_artifact_or_with_a_run(two, root, capsys):
    (one, other) = [
        artifact
        for artifact in Store(root / "store").artifacts()
        if artifact.manifest.stage == "build_llm"
    ]
    document = told(capsys, f"shell/{one.key[:10]}", other.key[:10])
    assert [row["output"] for row in document["stages"]] == ["differs"]
    same = told(capsys, "latest", str(other.path))
    rows = [row["stage"] for row in same["stages"]]
    assert rows == ["build_llm"]
    assert dispatch(["diff", "shell/0123456789"]) == 2
    assert "no artifacts begin with shell/0123456789" in capsys.readouterr().err


def test_answers_scores_and_ratios_of_real_records(tmp_path, monkeypatch, capsys):
    """A fake evaluation and another prompt, from the command line."""
    monkeypatch.chdir(tmp_path)
    words = ["recipe=llava", "backend=fake", "eval.task=lmms-lab/ai2d", "-q"]
    assert dispatch(words) == 0
    assert dispatch([*words, "run.prompt=Why?", "eval.max_ite=10", "quant=int8_wo"]) == 0
    capsys.readouterr()
    document = told(capsys)
    settings = {row["field"]: (row["old"], row["new"]) for row in document["settings"]}
    assert settings["override.run.prompt"] == (None, "Why?")
    (answer,) = document["answers"]
    assert ("prompt", "\\n Which city is this?", "Why?") in [
        (row["field"], row["old"], row["new"]) for row in answer["fields"]
    ]
    assert ("samples", 20, 10) in [(r["field"], r["old"], r["new"]) for r in document["scores"]]
    assert not document["same"]
    assert dispatch(["diff"]) == 0
    out = capsys.readouterr().out
    assert "override.quant" in out and "answer 1" in out and "SCORE" in out


def test_first_differing_token_and_ratio():
    from mmtrt.report.differences import _results

    old = {"requests": [{"text": "a cat", "token_ids": [5, 6, 7]}], "scores": []}
    new = {"requests": [{"text": "a dog", "token_ids": [5, 6, 9]}], "scores": []}
    found = _results(
        {**old, "timings": {"prefill_ms": 8.0, "new_tokens": 3}},
        {**new, "timings": {"prefill_ms": 4.0, "new_tokens": 3}},
    )
    assert found["answers"][0]["first_token"] == 2
    assert found["timings"] == [{"name": "prefill_ms", "old": 8.0, "new": 4.0, "ratio": 0.5}]
