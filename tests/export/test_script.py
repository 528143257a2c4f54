"""The script is run by a real bash; its tools are stand-ins that write down what they were told.

Scripts for TensorRT-LLM that build engines are run in ``test_export_container``.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mmtrt.export import to_sh
from mmtrt.plan.build import make_plan
from mmtrt.plan.graph import Plan
from mmtrt.plan.render import Layout
from tests.export.small_plan import small_plan
from tests.golden_text import check
from tests.waiting import LIMIT_S
from tests.worlds import HOST, recipe, world

GOLDEN = Path(__file__).parent / "golden"

HOSTILE = [
    'it\'s "quoted"',
    "two\nlines and a tab\t",
    "$HOME `id` $(id) ${PATH} !! \\n \\",
    "-n --flag=1 ; rm -rf / # no comment",
    "* ? [a] {a,b} ~ | & < > größer 图",
    "'",
    "  ",
]

TOOL = """\
#!{python}
import json, os, sys
from pathlib import Path
with open(os.environ["CALLS"], "a") as file:
    names = ("HF_HUB_OFFLINE", "PYTHONSAFEPATH")
    seen = {{name: os.environ.get(name) for name in names}}
    row = {{"argv": sys.argv, "cwd": os.getcwd(), "env": seen, "listing": os.listdir()}}
    file.write(json.dumps(row) + "\\n")
words = sys.argv[1:]
flags = ("--output-dir", "--output_dir")
out = [words[i + 1] for i, word in enumerate(words[:-1]) if word in flags]
if os.environ.get("FAIL") and os.environ["FAIL"] in " ".join(words):
    sys.exit(7)
for directory in out:
    Path(directory).mkdir(parents=True, exist_ok=True)
    for name in {made!r}:
        Path(directory, name).write_text("made")
if "--output_timing_cache" in words:
    Path(words[-1]).write_text("timings")
"""


MADE = (
    *("llm", "vision", "config.json", "model.onnx", "result.json"),
    *("model.engine", "image_newlines.safetensors", "rank0.engine", "rank1.engine"),
)


def tools(folder: Path) -> dict[str, str]:
    """Make stand-ins and return the environment that finds them."""
    folder.mkdir(parents=True)
    for name in ("python3", "trtllm-build", "mpirun"):
        path = folder / name
        path.write_text(TOOL.format(python=sys.executable, made=MADE))
        path.chmod(0o755)
    return {
        **{k: v for k, v in os.environ.items() if k not in ("OUT", "PYTHON", "EXAMPLES")},
        "PATH": f"{folder}:{os.environ['PATH']}",
        "CALLS": str(folder / "calls.jsonl"),
    }


def bash(script: str, env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", script], env=env, cwd=cwd, capture_output=True, text=True, timeout=LIMIT_S
    )


def calls(env: dict[str, str]) -> list[dict]:
    path = Path(env["CALLS"])
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def wanted(plan: Plan, out: Path) -> list[list[str]]:
    """Return the argument vectors as mmtrt's own executor renders them."""
    is_plain = plan.choice.backend.name == "trtllm"
    places = {node.id: out / node.id / node.stage.model_name for node in plan.active()}
    rows = []
    for node in plan.active():
        inputs = {port: places[f] for port, f in node.feeds.items()}
        layout = Layout(places[node.id], inputs, "python3", out / ".side")
        if node.command.tools or not is_plain:
            rows.append(layout.argv(node.command))
    if is_plain and os.geteuid() == 0:
        rows[-1].insert(3, "--allow-run-as-root")
    return rows


def heard(env: dict[str, str]) -> list[list[str]]:
    return [[Path(row["argv"][0]).name, *row["argv"][1:]] for row in calls(env)]


def plans(folder: Path) -> dict[str, Plan]:
    """Return plans of both toolchains, with words that a careless shell script would mangle."""
    model = folder / "a model's $dir"
    image = folder / 'my "red" picture.png'
    model.mkdir()
    image.write_text("png")
    return {
        "native": make_plan(
            recipe(
                variant="tiny",
                model__path=str(model),
                run__prompt=HOSTILE[:4],
                run__image=[str(image)] * 4,
                run__batch_size=4,
                quant="int8_wo",
            ),
            HOST,
        ),
        "trtllm": make_plan(
            recipe(
                "llava_next",
                tp=2,
                model__path=str(model),
                run__prompt=HOSTILE,
                trtllm__examples_dir=str(folder / "it's examples"),
            ),
            HOST,
        ),
    }


@pytest.mark.parametrize("which", ["native", "trtllm"])
def test_bash_passes_every_word_as_the_executor_does(tmp_path, which):
    plan = plans(tmp_path)[which]
    env = tools(tmp_path / "tools") | {"OUT": str(tmp_path / "it's out")}
    done = bash(to_sh(plan), env, tmp_path)
    assert done.returncode == 0, done.stderr
    assert heard(env) == wanted(plan, tmp_path / "it's out")


def test_every_stage_works_in_an_empty_directory_of_its_own(tmp_path):
    env = tools(tmp_path / "tools") | {"OUT": str(tmp_path / "out")}
    assert bash(to_sh(plans(tmp_path)["native"]), env, tmp_path).returncode == 0
    rows = calls(env)
    assert [row["cwd"] for row in rows] == [
        str(tmp_path / "out" / stage / ".work")
        for stage in (
            *("download", "convert", "quantize", "build_vision", "build_llm", "assemble", "run"),
        )
    ]
    assert not any(row["listing"] for row in rows)
    assert {row["env"]["HF_HUB_OFFLINE"] for row in rows} == {"1"}
    assert {row["env"]["PYTHONSAFEPATH"] for row in rows} == {"1"}


def test_only_stages_that_need_the_network_may_use_it(tmp_path):
    env = tools(tmp_path / "tools") | {"OUT": str(tmp_path / "out")}
    assert bash(to_sh(plans(tmp_path)["trtllm"]), env, tmp_path).returncode == 0
    offline = {Path(row["cwd"]).parent.name: row["env"]["HF_HUB_OFFLINE"] for row in calls(env)}
    assert offline == {"convert": "1", "build_vision": "1", "build_llm": "1", "run": None}


def test_example_scripts_find_what_lies_beside_them(tmp_path):
    """With PYTHONSAFEPATH, ``from utils import ...`` of run.py would fail."""
    env = tools(tmp_path / "tools") | {"OUT": str(tmp_path / "out")}
    assert bash(to_sh(plans(tmp_path)["trtllm"]), env, tmp_path).returncode == 0
    assert {row["env"]["PYTHONSAFEPATH"] for row in calls(env)} == {None}


def test_the_timing_cache_is_kept_beside_the_stages(tmp_path):
    env = tools(tmp_path / "tools") | {"OUT": str(tmp_path / "out")}
    assert bash(to_sh(plans(tmp_path)["trtllm"]), env, tmp_path).returncode == 0
    (kept,) = (tmp_path / "out/.side").rglob("*.cache")
    assert kept.read_text() == "timings"
    build = next(row["argv"] for row in calls(env) if row["argv"][0].endswith("trtllm-build"))
    assert str(kept) in build


def test_a_second_run_does_nothing(tmp_path):
    script = to_sh(plans(tmp_path)["native"])
    env = tools(tmp_path / "tools") | {"OUT": str(tmp_path / "out")}
    assert bash(script, env, tmp_path).returncode == 0
    before = len(calls(env))
    assert bash(script, env, tmp_path).returncode == 0
    assert len(calls(env)) == before


def test_a_failure_stops_and_the_next_run_goes_on_from_there(tmp_path):
    script = to_sh(plans(tmp_path)["native"])
    env = tools(tmp_path / "tools") | {"OUT": str(tmp_path / "out")}
    failed = bash(script, env | {"FAIL": "mmtrt.native.build_vision"}, tmp_path)
    assert failed.returncode == 7
    assert failed.stderr.splitlines()[-1] == "== build_vision"
    assert sorted(path.parent.name for path in tmp_path.glob("out/*/.done")) == [
        *("convert", "download", "quantize"),
    ]
    (output,) = (tmp_path / "out/build_vision").glob("[!.]*")
    (output / "rubbish").write_text("of the failure")
    assert bash(script, env, tmp_path).returncode == 0
    assert not (output / "rubbish").exists()
    modules = [row["argv"][2].rpartition(".")[2] for row in calls(env)]
    assert modules == [
        *("download", "convert", "quantize", "build_vision"),
        *("build_vision", "build_llm", "assemble", "run"),
    ]


def test_a_stage_that_leaves_an_output_out_is_not_done(tmp_path):
    env = tools(tmp_path / "tools") | {"OUT": str(tmp_path / "out")}
    tool = Path(tmp_path / "tools/python3")
    tool.write_text(tool.read_text().replace("'model.onnx', ", ""))
    done = bash(to_sh(plans(tmp_path)["native"]), env, tmp_path)
    assert done.returncode == 1
    assert re.search(r"^stage build_vision did not write .*/model\.onnx$", done.stderr, re.M)
    assert not (tmp_path / "out/build_vision/.done").exists()


def test_a_relative_interpreter_and_output_survive_the_change_of_directory(tmp_path):
    env = tools(tmp_path / "tools") | {"OUT": "some where", "PYTHON": "tools/python3"}
    done = bash(to_sh(plans(tmp_path)["native"]), env | {"CDPATH": "/"}, tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "some where/run/.done").exists()


def test_odd_stage_names_make_sound_scripts(tmp_path):
    plan = world(
        tmp_path,
        ("path", "true"),
        ("a b/../c", "true", ["path"]),
        ("a_b_.._c", "true", ["a b/../c"]),
        ("..", "true", ["a_b_.._c"]),
        ("8", "true\n# ' \"", [".."]),
    ).plan()
    done = bash(to_sh(plan), {**os.environ, "OUT": str(tmp_path / "out")}, tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("8", "a_b_.._c", "a_b_.._c_2", "path", "stage_.."),
    ]


def test_a_line_break_in_an_override_does_not_leave_its_comment(tmp_path):
    plan = plans(tmp_path)["trtllm"]
    odd = dataclasses.replace(plan.recipe, overrides=("run.prompt=a\nexit 9\r\u2028exit 9",))
    plan = dataclasses.replace(plan, recipe=odd)
    env = tools(tmp_path / "tools") | {"OUT": str(tmp_path / "out")}
    assert bash(to_sh(plan), env, tmp_path).returncode == 0


@pytest.mark.parametrize("user", [0, 1000])
def test_mpirun_may_run_as_root_only_if_it_must(tmp_path, user):
    plan = plans(tmp_path)["trtllm"]
    env = tools(tmp_path / "tools") | {"OUT": str(tmp_path / "out")}
    (tmp_path / "tools/id").write_text(f"#!/bin/sh\necho {user}\n")
    (tmp_path / "tools/id").chmod(0o755)
    assert bash(to_sh(plan), env, tmp_path).returncode == 0
    (run,) = (row for row in heard(env) if row[0] == "mpirun")
    assert ("--allow-run-as-root" in run) == (user == 0)
    assert run[:3] == ["mpirun", "-n", "2"]


def test_the_same_plan_gives_the_same_script(tmp_path):
    one, other = (make_plan(recipe("llava_next", tp=2), HOST) for _ in range(2))
    assert to_sh(one) == to_sh(other)


def test_the_script_is_as_recorded():
    check(GOLDEN / "small.sh", to_sh(small_plan()))


def test_the_recorded_script_runs(tmp_path):
    env = tools(tmp_path / "tools") | {"OUT": str(tmp_path / "out"), "EXAMPLES": "/ex"}
    done = bash(to_sh(small_plan()), env, tmp_path)
    assert done.returncode == 1
    assert "stage llm did not write" in done.stderr
    download, llm = calls(env)
    assert download["env"]["HF_HUB_OFFLINE"] is None
    assert llm["argv"][-5] == "/ex/llama/build.py"
