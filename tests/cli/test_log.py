from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmtrt.cli import dispatch
from tests.report.records import broken, has_begun, record
from tests.waiting import LIMIT_S, wait_until
from tests.worlds import ROOT


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMTRT_RUNS", str(tmp_path / "runs"))
    return tmp_path


def test_stages_are_listed_with_their_logs(root, capsys):
    run = record(root, broken(root))
    assert dispatch(["log"]) == 0
    out, err = capsys.readouterr()
    rows = [line.split() for line in out.splitlines()[1:]]
    assert [row[:2] for row in rows] == [
        ["download", "done"],
        ["build_llm", "done"],
        ["run", "failed"],
    ]
    for row in rows:
        assert row[-1].endswith("stderr.log")
        assert Path(row[-1]).exists()
    assert err == f"{run}: failed\n"


def test_a_stage_shows_what_it_wrote(root, capsys):
    record(root)
    assert dispatch(["log", "build_llm"]) == 0
    assert capsys.readouterr().out == "compiled\n"


def test_two_logs_have_headings(root, capsys):
    record(root, broken(root))
    assert dispatch(["log", "last", "run"]) == 0
    out = capsys.readouterr().out
    assert "stdout.log <==\nabout to fail\n==>" in out
    assert "stderr.log <==\nno such device\n" in out


def test_a_run_is_named_by_recipe_or_stamp(root, capsys):
    run = record(root)
    for name in ("llava", run.name[:8], run.name, str(run)):
        assert dispatch(["log", name, "build_llm"]) == 0
        assert capsys.readouterr().out == "compiled\n"


def test_unknown_names_are_told(root, capsys):
    assert dispatch(["log"]) == 2
    assert "no run is recorded" in capsys.readouterr().err
    record(root)
    assert dispatch(["log", "last", "build_lm"]) == 2
    assert "its stages are download, build_llm" in capsys.readouterr().err
    assert dispatch(["log", "build_lm"]) == 2
    assert "no run is called" in capsys.readouterr().err


def test_json_has_the_text(root, capsys):
    record(root)
    dispatch(["log", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert [stage["id"] for stage in document["stages"]] == ["download", "build_llm"]
    assert "text" not in document["stages"][0]
    dispatch(["log", "download", "--json"])
    (stage,) = json.loads(capsys.readouterr().out)["stages"]
    assert sorted(stage["text"].values()) == ["fetched\n", "quickly\n"]


def test_bytes_that_are_no_text_do_not_break_the_log(root, capsys):
    record(root)
    run = record(root)
    dispatch(["log", str(run), "--json"])
    (log, _) = json.loads(capsys.readouterr().out)["stages"][0]["logs"]
    Path(log).chmod(0o600)
    Path(log).write_bytes(b"\xff\xfe half \xc3")
    assert dispatch(["log", "download"]) == 0
    assert "half" in capsys.readouterr().out


SLOW = """
import sys
from pathlib import Path
from tests.report.records import record
from tests.worlds import world
root = Path(sys.argv[1])
script = "echo first; until [ -e %s/go ]; do sleep 0.05; done; echo last >&2"
record(root, world(root / "store", ("build_llm", script % root + "; touch $1/x")))
"""


def test_a_running_stage_is_followed_to_its_end(root):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.Popen([sys.executable, "-c", SLOW, str(root)], env=env)
    try:
        wait_until(lambda: has_begun(root / "runs", "build_llm"), run)
        log = subprocess.Popen(
            [sys.executable, "-m", "mmtrt", "log", "-f"],
            env={**env, "PYTHONUNBUFFERED": "1"},
            cwd=root,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert log.stdout.readline() == "first\n"
        assert log.poll() is None
        (root / "go").touch()
        assert log.stdout.read() == "last\n"
        assert log.wait(LIMIT_S) == 0
    finally:
        (root / "go").touch()
        run.wait(LIMIT_S)
