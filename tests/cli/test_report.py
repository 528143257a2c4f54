from __future__ import annotations

import json

import pytest

from mmtrt.cli import dispatch
from mmtrt.report.collect import collect
from mmtrt.report.render import to_markdown
from tests.report.records import broken, record


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("MMTRT_RUNS", str(tmp_path / "runs"))
    return tmp_path


def test_markdown_is_printed(root, capsys):
    run = record(root)
    assert dispatch(["report"]) == 0
    out, err = capsys.readouterr()
    assert out == to_markdown(collect(run))
    assert out == (run / "report.md").read_text()
    assert err == ""


@pytest.mark.parametrize("words", [["--json"], ["--format", "json"], ["--format=json"]])
def test_json_is_printed(root, capsys, words):
    record(root, broken(root))
    assert dispatch(["report", "llava", *words]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["status"]) == (1, "failed")


def test_a_file_is_written(root, capsys):
    run = record(root)
    assert dispatch(["report", str(run), "-o", str(root / "out.md")]) == 0
    assert capsys.readouterr().out == ""
    assert (root / "out.md").read_text() == to_markdown(collect(run))
    assert dispatch(["report", "-o", str(root / "missing/out.md")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_the_records_may_lie_elsewhere(root, capsys, monkeypatch):
    record(root)
    monkeypatch.delenv("MMTRT_RUNS")
    for words in (["--runs", f"{root}/runs"], [f"paths.runs={root}/runs"]):
        assert dispatch(["report", *words]) == 0
        assert capsys.readouterr().out.startswith("# llava tiny: done in ")


def test_a_killed_run_is_reported_as_far_as_it_came(root, capsys):
    run = root / "runs/20260102T030405Z-llava"
    run.mkdir(parents=True)
    (run / "events.jsonl").write_text('{"type": "run_started", "stages": ["a", "b"], "t": 0}\n{"ty')
    assert dispatch(["report"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("# llava: interrupted")
    assert "| a | not started |" in out


def test_an_unknown_format_is_refused(root, capsys):
    assert dispatch(["report", "--format", "pdf"]) == 2
    assert "--format md|json" in capsys.readouterr().err
