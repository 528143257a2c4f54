from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from mmtrt.report.collect import Report, collect
from mmtrt.report.render import to_json, to_markdown
from tests.report.records import broken, has_begun, record
from tests.waiting import wait_until
from tests.worlds import ROOT, world


def statuses(report: Report) -> dict[str, str]:
    return {row.id: row.status for row in report.stages}


def test_a_run_is_told_stage_by_stage(tmp_path):
    report = collect(record(tmp_path))
    assert (report.recipe, report.variant, report.status) == ("llava", "tiny", "done")
    assert (report.backend, report.toolchain) == ("shell", {"name": "shell", "version": "1"})
    assert statuses(report) == {"download": "done", "build_llm": "done"}
    row = report.stage("build_llm")
    assert row.reasons == ("first build", "download runs first")
    assert row.size_bytes == 8
    assert row.peak_rss_bytes > 0
    assert 0 < row.seconds < 60
    assert Path(row.artifact).is_dir()
    assert row.key in row.artifact
    assert [Path(log).read_text() for log in row.logs] == ["compiled\n", ""]
    assert report.limits["max_batch_size"]["value"] == 4
    assert report.features_per_request == 36
    assert report.host["hostname"] == "box"
    assert datetime.fromisoformat(report.started).tzinfo is not None


def test_a_second_run_is_all_hits(tmp_path):
    record(tmp_path)
    report = collect(record(tmp_path))
    assert statuses(report) == {"download": "hit", "build_llm": "hit"}
    row = report.stage("build_llm")
    assert (row.reasons, row.size_bytes, row.seconds) == ((), 8, 0.0)
    assert Path(row.logs[0]).read_text() == "compiled\n"


def test_a_failure_has_its_log_and_how_to_repeat_it(tmp_path):
    report = collect(record(tmp_path, broken(tmp_path, ("after", "true", ["run"]))))
    assert report.status == "failed"
    assert statuses(report)["run"] == "failed"
    row = report.stage("run")
    assert row.reasons == ("exit status 3",)
    assert [Path(log).read_text() for log in row.logs] == ["about to fail\n", "no such device\n"]
    assert row.repeat.startswith("sh -c ")
    after = report.stage("after")
    assert (after.status, after.reasons) == ("skipped", ("run did not finish",))


def test_an_empty_record_is_an_interrupted_run(tmp_path):
    run = tmp_path / "20260102T030405Z-llava"
    run.mkdir()
    report = collect(run)
    assert (report.recipe, report.status, report.stages) == ("llava", "interrupted", ())
    assert "interrupted" in to_markdown(report)


@pytest.mark.parametrize("name", ["plan.json", "events.jsonl", "result.json"])
@pytest.mark.parametrize("damage", ["missing", "cut", "rubbish"])
def test_any_file_may_be_gone_or_cut_off(tmp_path, name, damage):
    path = record(tmp_path, broken(tmp_path)) / name
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        path.write_bytes(b'\xff\x00["not", "an object"]\n{"type": 5}\n{"type": "stage_done"}\n')
    report = collect(path.parent)
    assert report.recipe == "llava"
    json.dumps(to_json(report))
    assert to_markdown(report).startswith("# llava")


def test_a_record_cut_off_between_stages_is_running_only_for_a_moment(tmp_path):
    run = record(tmp_path)
    (run / "result.json").unlink()
    events = (run / "events.jsonl").read_text().splitlines()
    until = next(i for i, line in enumerate(events) if "stage_done" in line)
    (run / "events.jsonl").write_text("\n".join(events[: until + 1]))
    moment = datetime.fromisoformat(json.loads(events[until])["time"])
    assert collect(run, lambda: moment + timedelta(seconds=1)).status == "running"
    late = collect(run, lambda: moment + timedelta(seconds=20))
    assert late.status == "interrupted"
    assert statuses(late) == {"download": "done", "build_llm": "not started"}


SLEEPER = """
import sys
from pathlib import Path
from tests.report.records import CHAIN, record
from tests.worlds import world
root = Path(sys.argv[1])
record(root, world(root / "store", *CHAIN, ("run", "echo waiting; sleep 600", ["build_llm"])))
"""


def test_a_killed_run_is_told_from_one_that_goes_on(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEPER, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        wait_until(lambda: has_begun(tmp_path / "runs", "run"), process)
        (run,) = (tmp_path / "runs").iterdir()
        # However long the stage has been silent.
        late = datetime.now(timezone.utc) + timedelta(hours=1)
        report = collect(run, lambda: late)
        assert (report.status, statuses(report)["run"]) == ("running", "running")
        assert Path(report.stage("run").logs[0]).name == "stdout.log"
        process.send_signal(signal.SIGKILL)
        process.wait()
        report = collect(run)
        assert (report.status, statuses(report)["run"]) == ("interrupted", "interrupted")
        assert "| run (shell) | interrupted |" in to_markdown(report)
    finally:
        process.kill()
        process.wait()


def test_reasons_of_a_newer_mmtrt_are_told_by_their_type(tmp_path):
    run = record(tmp_path)
    text = (run / "events.jsonl").read_text().replace('"first_build"', '"moon_phase_changed"')
    (run / "events.jsonl").write_text(text)
    assert collect(run).stage("download").reasons == ("moon phase changed",)


def test_answers_come_from_the_artifact_if_the_record_lacks_them(tmp_path):
    answer = {"requests": [{"prompt": "p", "images": [], "text": "t"}], "timings": {"vision_ms": 1}}
    script = f"printf '%s' '{json.dumps(answer)}' > $1/result.json"
    w = world(tmp_path / "store", ("run", script))
    run = record(tmp_path, w)
    events = (run / "events.jsonl").read_text().replace('"kind": "shell"', '"kind": "run"')
    (run / "events.jsonl").write_text(events)
    (run / "result.json").unlink()
    report = collect(run)
    assert report.results[0]["text"] == "t"
    assert report.timings == {"vision_ms": 1}
