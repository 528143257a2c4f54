from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmtrt.cli import dispatch
from tests.report.html.samples import sweep_results, write_record


def test_a_run_becomes_one_file_in_its_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    record = write_record(tmp_path, "20260102T030405Z-llava")
    assert dispatch(["report", "--html", "--runs", str(tmp_path)]) == 0
    page = (record / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and 'data-stage="convert"' in page
    assert capsys.readouterr() == ("", f"Wrote {record / 'report.html'}\n")


def test_standard_output_and_another_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    record = tmp_path / "20260102T030405Z-sweep"
    record.mkdir()
    (record / "results.json").write_text(json.dumps(sweep_results()))
    assert dispatch(["report", "--html", "--runs", str(tmp_path), "-o", "-"]) == 0
    printed = capsys.readouterr().out
    assert 'id="pareto"' in printed
    target = tmp_path / "page.html"
    assert dispatch(["report", "--format", "html", "--runs", str(tmp_path), "-o", str(target)]) == 0
    assert target.read_text(encoding="utf-8") == printed


def test_a_format_that_there_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert dispatch(["report", "--format", "pdf", "--runs", str(tmp_path)]) == 2
    assert "html" in capsys.readouterr().err
