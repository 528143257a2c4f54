"""The main job as a newcomer meets it: real engines, real store, the command line from outside."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.demo_home import built_home

pytest.importorskip("onnxruntime")
pytest.importorskip("torch")

TINY = ["recipe=llava", "variant=tiny"]


def mmtrt(*words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mmtrt", *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=300,
        env={**os.environ, **env},
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Return a directory in which the tiny LLaVA has been built."""
    return built_home(tmp_path_factory)


def test_first_run_builds_and_answers(home):
    out, err = (home / "first.txt").read_text().split("\n---\n")
    assert re.search(r"^answer: red$", out, re.MULTILINE)
    assert err.startswith("llava tiny · backend native, onnxruntime")
    assert re.search(r"Done in .*: 6 built; report: outputs/runs/", err)


def test_second_run_takes_everything_from_the_store(home):
    done = mmtrt(*TINY, "--json", cwd=home)
    document = json.loads(done.stdout)
    assert {stage["status"] for stage in document["stages"]} == {"hit"}
    (request,) = document["result"]["requests"]
    assert request["text"] == "red"
    assert request["images"][0].endswith("red_circle_left_on_white.png")
    assert set(document["result"]["timings"]) >= {
        "vision_ms",
        "prefill_ms",
        "decode_ms_per_token",
    }


def test_another_question_reuses_the_engines(home):
    done = mmtrt(*TINY, 'run.prompt="What shape is it?"', "--json", cwd=home)
    stages = {stage["id"]: stage["status"] for stage in json.loads(done.stdout)["stages"]}
    assert stages["run"] in ("done", "hit")
    assert {status for name, status in stages.items() if name != "run"} == {"hit"}


def test_plan_says_what_a_change_costs(home):
    before = mmtrt("plan", *TINY, "--detailed-exitcode", cwd=home)
    assert before.returncode == 0, before.stdout
    changed = mmtrt("plan", *TINY, "max_batch_size=2", "--json", "--detailed-exitcode", cwd=home)
    assert changed.returncode == 10
    stages = {stage["id"]: stage for stage in json.loads(changed.stdout)["stages"]}
    assert stages["convert"]["status"] == "hit"
    assert {"type": "param_changed", "path": "max_batch_size", "old": 4, "new": 2} in (
        stages["build_llm"]["reasons"]
    )


def test_plan_is_what_runs(home):
    planned = json.loads(mmtrt("plan", *TINY, "--json", cwd=home).stdout)["stages"]
    ran = json.loads(mmtrt(*TINY, "--json", cwd=home).stdout)["stages"]
    assert [s["id"] for s in planned if s["status"] != "skip"] == [s["id"] for s in ran]
    for stage in ran:
        key = next(p["key"] for p in planned if p["id"] == stage["id"])
        assert key in stage["artifact"]


@pytest.mark.slow
def test_quantized_engines_answer_too(home):
    done = mmtrt(*TINY, "quant=int8_wo", "--json", cwd=home)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    stages = {stage["id"]: stage["status"] for stage in document["stages"]}
    assert stages["quantize"] == "done"
    assert stages["build_vision"] == "hit"
    assert document["result"]["requests"][0]["text"] == "red"


def test_batch_of_two_prompts_and_pictures(home):
    done = mmtrt(
        *TINY,
        "run.batch_size=2",
        "run.prompt=[What colour is the shape?,What colour is the background?]",
        "--json",
        cwd=home,
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["result"]["requests"]) == 2


def test_too_many_tokens_is_refused_by_name(home):
    prompt = "red " * 200
    done = mmtrt(*TINY, f'run.prompt="{prompt}"', cwd=home)
    assert done.returncode == 2
    assert "error[SIZ106]" in done.stderr and "max_input_len" in done.stderr
    assert "Traceback" not in done.stderr


def test_sweep_answers_at_every_point(home):
    done = mmtrt("-m", *TINY, "run.max_new_tokens=4,5", "--json", cwd=home)
    assert done.returncode == 0, done.stderr
    points = json.loads(done.stdout)["points"]
    assert [(point["status"], point["answers"]) for point in points] == [("done", ["red"])] * 2
    assert all(point["decode_tokens_per_s"] > 0 for point in points)
    assert not (home / "multirun").exists()


def test_terminal_shows_a_live_display_and_leaves_plain_lines(tmp_path):
    """Run on a real pseudo-terminal: escapes while it moves, one line a stage at the end."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "mmtrt", *TINY, "until=convert"],
        cwd=tmp_path,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm-256color", "CI": "", "NO_COLOR": ""},
    )
    os.close(terminal)
    text = b""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            chunk = os.read(controller, 4096)
        except OSError:
            break
        if not chunk:
            break
        text += chunk
    assert process.wait() == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.decode())
    assert re.search(r"\+ download +done in", plain)
    assert re.search(r"\+ convert +done in", plain)


def test_exported_script_is_plain_bash(home, tmp_path):
    script = mmtrt("export", *TINY, "--format", "sh", cwd=home)
    assert script.returncode == 0, script.stderr
    checked = subprocess.run(["bash", "-n"], input=script.stdout, text=True, capture_output=True)
    assert checked.returncode == 0, checked.stderr


def test_report_of_the_last_run_of_a_recipe(home):
    text = mmtrt("report", "llava", cwd=home).stdout
    assert "llava" in text and "build_llm" in text


def test_nothing_torch_is_imported_on_the_way_to_a_hit(home):
    probe = """
import sys
sys.argv = ["mmtrt", "recipe=llava", "variant=tiny"]
from mmtrt.__main__ import main
code = main()
heavy = {"torch", "transformers", "onnxruntime", "hydra", "omegaconf", "rich", "numpy"}
print(sorted(heavy & set(sys.modules)), code)
"""
    env = {"NO_COLOR": "1"}
    mmtrt(*TINY, cwd=home, **env)
    done = subprocess.run(
        [sys.executable, "-c", probe],
        capture_output=True,
        text=True,
        cwd=home,
        env={**os.environ, **env},
    )
    assert done.stdout.splitlines()[-1] == "[] 0", done.stdout + done.stderr
