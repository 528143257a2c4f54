"""``mmtrt -m`` as people type it, with stand-ins for the tools."""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mmtrt.cli import dispatch
from mmtrt.cli.sweep import Options, Planning, Sweeping
from mmtrt.errors import UsageError
from tests.waiting import LIMIT_S, wait_until
from tests.worlds import RECIPES, ROOT

GRID = ("recipe=llava,llava_next", "quant=none,int4_wo", "workload.batch_size=1,2")
COMMON = ("backend=fake", "until=build_llm")


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "mmtrt", *words]


def mmtrt(cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run in this process: importing Hydra anew each time would take longer than the rest."""
    out, err, before = io.StringIO(), io.StringIO(), Path.cwd()
    os.chdir(cwd)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = dispatch(words)
    finally:
        os.chdir(before)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def in_process(cwd: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run as a program of its own."""
    variables = {**os.environ, **env}
    return subprocess.run(
        command(*words), cwd=cwd, capture_output=True, text=True, check=False, env=variables
    )


def newest(cwd: Path) -> Path:
    return max((cwd / "outputs/runs").iterdir(), key=lambda path: path.stat().st_mtime_ns)


def results(cwd: Path) -> dict[str, Any]:
    return read_results(newest(cwd))


def read_results(run: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((run / "results.json").read_text())
    return document


def first(cwd: Path) -> Path:
    """Return the run that a fixture made, whatever other tests have run there since."""
    return min((cwd / "outputs/runs").iterdir(), key=lambda path: path.stat().st_mtime_ns)


def of_points(document: dict[str, Any], name: str) -> list[Any]:
    return [point[name] for point in document["points"]]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which the grid has run."""
    cwd = tmp_path_factory.mktemp("swept")
    done = mmtrt(cwd, "-m", *GRID, *COMMON)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(
        "POINT  recipe      quant    workload.batch_size  STATUS  ENGINES"
    )
    return cwd


def test_equal_stages_ran_once(swept: Path) -> None:
    """Two recipes, two formats, two batches: each model is fetched and converted once."""
    lines = (first(swept) / "events.jsonl").read_text().splitlines()
    started = [json.loads(line) for line in lines if '"stage_started"' in line]
    kinds = [event["kind"] for event in started]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "download": 2,
        "convert": 4,
        "build_llm": 8,
    }
    plan = json.loads((first(swept) / "plan.json").read_text())
    assert len(plan["stages"]) == 14
    assert len(plan["points"]) == 8


def test_results_keep_their_contract(swept: Path) -> None:
    document = read_results(first(swept))
    assert document["schema"] == 1
    assert document["varied"] == ["recipe", "quant", "workload.batch_size"]
    assert document["pareto_axes"] == ["engine_bytes"]
    assert of_points(document, "id") == [str(n) for n in range(8)]
    assert of_points(document, "status") == ["done"] * 8
    point = document["points"][6]
    assert point["overrides"]["quant"] == "int4_wo"
    assert point["overrides"]["workload.batch_size"] == 1
    assert (point["recipe"], point["stages"], point["hits"]) == ("llava_next", 3, 0)
    assert point["limits"]["max_batch_size"] == 1
    built = Path(point["artifacts"]["build_llm"])
    files = [path for path in (swept / built).rglob("*") if path.is_file()]
    assert point["engine_bytes"] == sum(path.stat().st_size for path in files)
    assert point["build_seconds"] > 0
    smallest = min(of_points(document, "engine_bytes"))
    on_front = [size == smallest for size in of_points(document, "engine_bytes")]
    assert of_points(document, "pareto") == on_front


def test_a_sweep_done_before_comes_from_the_store(swept: Path) -> None:
    again = mmtrt(swept, "-m", *GRID, *COMMON, "--json", "-q")
    assert again.returncode == 0, again.stderr
    document = json.loads(again.stdout)
    assert of_points(document, "hits") == [3] * 8
    assert again.stderr == ""
    # A plain run of one point has nothing to do either.
    one = ("recipe=llava_next", "quant=int4_wo", "workload.batch_size=2", *COMMON)
    assert mmtrt(swept, "plan", *one, "--detailed-exitcode").returncode == 0


def test_reports_of_a_sweep(swept: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(mmtrt(swept, "report", "--format", "csv").stdout)))
    assert [(row["recipe"], row["quant"], row["workload.batch_size"]) for row in rows][5] == (
        "llava_next",
        "none",
        "2",
    )
    assert rows[0]["engine_bytes"] == str(results(swept)["points"][0]["engine_bytes"])
    text = mmtrt(swept, "report", "sweep").stdout
    assert text.startswith("# Sweep sweep\n")
    assert "| 7 | llava\\_next | int4\\_wo | 2 | done |" in text or "| 7 | llava_next |" in text
    assert json.loads(mmtrt(swept, "report", "--json").stdout) == results(swept)


def test_merged_plan(swept: Path) -> None:
    words = ("plan", "-m", *GRID, *COMMON, "tp=1,2")
    document = json.loads(mmtrt(swept, *words, "--json").stdout)
    hits = [stage["id"] for stage in document["stages"] if stage["status"] == "hit"]
    assert len(document["points"]) == 16
    assert len(hits) == 14
    (download,) = [s for s in document["stages"] if s["id"] == "download"]
    assert len(download["points"]) == 8
    known = {stage["id"] for stage in document["stages"]}
    assert all(set(point["stages"].values()) <= known for point in document["points"])
    shown = mmtrt(swept, *words, "--detailed-exitcode")
    assert shown.returncode == 10
    text = shown.stdout
    assert text.startswith("16 points over recipe, quant, workload.batch_size, tp · 48 stages are")
    assert re.search(r"= download +hit +recipe=llava \(8 points\)", text)


BAD = ("-m", "recipe=llava,llava_next", "quant=none,fp8,nope", "tp=1,3", *COMMON)


def test_all_findings_before_anything_runs(tmp_path: Path) -> None:
    done = mmtrt(tmp_path, *BAD)
    assert done.returncode == 2
    assert not (tmp_path / "outputs").exists()
    assert "error[CFG106]: there is no quant 'nope'\n  points: quant=nope (4 points)" in done.stderr
    assert (
        "error[QNT101]: llava 7b has no quant=fp8\n  points: recipe=llava quant=fp8" in done.stderr
    )
    assert done.stderr.count("error[PAR101]") == 2  # one for each recipe's heads
    assert "error[CFG141]: 10 of 12 points cannot run" in done.stderr
    checked = mmtrt(tmp_path, "check", *BAD, "--json")
    assert checked.returncode == 2
    found = json.loads(checked.stdout)["findings"]
    assert {row["code"]: len(row["points"]) for row in found if row["code"] == "CFG106"} == {
        "CFG106": 4
    }


def test_a_lock_that_is_missing_has_the_exit_code_of_locks(tmp_path: Path) -> None:
    words = ("-m", "recipe=llava", "backend=fake", "until=download", "--locked")
    stale = mmtrt(tmp_path, *words, "workload.batch_size=1,2")
    assert stale.returncode == 4
    assert "error[LCK102]" in stale.stderr and "error[CFG141]" in stale.stderr
    # Whatever else is wrong counts more.
    assert mmtrt(tmp_path, *words, "workload.batch_size=-1,2").returncode == 2


def test_invalid_points_can_be_left_out(tmp_path: Path) -> None:
    words = ("-m", "recipe=llava", "quant=none,fp8", "backend=fake", "until=download")
    done = mmtrt(tmp_path, *words, "--skip-invalid")
    assert done.returncode == 0, done.stderr
    document = results(tmp_path)
    assert of_points(document, "status") == ["done", "invalid"]
    assert "has no quant=fp8" in document["points"][1]["error"]


def test_invalid_points_get_to_no_launcher(tmp_path: Path) -> None:
    """With a launcher that runs each point as a job of its own, here Hydra's."""
    words = ("-m", "recipe=llava", "quant=none,fp8", "backend=fake", "until=download")
    words = (*words, "workload.batch_size=range(1,3)", "hydra/launcher=basic")
    refused = mmtrt(tmp_path, *words)
    assert refused.returncode == 2 and "2 of 4 points cannot run" in refused.stderr
    assert not (tmp_path / "outputs").exists()
    done = mmtrt(tmp_path, *words, "--skip-invalid", "--json", "-q")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert of_points(document, "status") == ["done", "done", "invalid", "invalid"]
    assert done.stderr.count("error[") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]
    # A sweeper that searches hands its points to such a launcher itself.
    other = mmtrt(tmp_path, *words, "--skip-invalid", "hydra/sweeper=optuna")
    assert other.returncode == 2 and "error[CFG143]" in other.stderr


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a good model and one that is cut off."""
    cwd = tmp_path_factory.mktemp("models")
    for name in ("good", "bad"):
        shutil.copytree(RECIPES / "assets/llava_tiny", cwd / name)
    weights = cwd / "bad/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    return cwd


def test_one_failing_point(models: Path) -> None:
    words = ("-m", "recipe=llava", "model.path=bad,good", "executor.jobs=1", *COMMON)
    stopped = mmtrt(models, *words)
    assert stopped.returncode == 1
    assert of_points(results(models), "status") == ["failed", "skipped"]
    went_on = mmtrt(models, *words, "--keep-going")
    assert went_on.returncode == 1
    document = results(models)
    assert of_points(document, "status") == ["failed", "done"]
    assert "MDL116" in document["points"][0]["error"]
    assert "point 0: stage download failed" in went_on.stderr
    assert "Traceback" not in went_on.stderr + stopped.stderr
    assert "Error executing job" not in went_on.stderr + stopped.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_what_is_finished_stays(tmp_path: Path, number: signal.Signals) -> None:
    words = ("-m", "recipe=llava", "workload.batch_size=range(1,41)", "executor.jobs=1", *COMMON)
    process = subprocess.Popen(
        command(*words), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )

    def one_is_done() -> bool:
        found = list(tmp_path.glob("outputs/runs/*/results.json"))
        return bool(found) and "done" in of_points(json.loads(found[0].read_text()), "status")

    wait_until(one_is_done, process)
    process.send_signal(number)
    out, _ = process.communicate(timeout=LIMIT_S)
    before = of_points(results(tmp_path), "status")
    assert "done" in before and "not_run" in before
    if number is signal.SIGINT:
        assert process.returncode == 130
        assert "not run" in out
    report = mmtrt(tmp_path, "report")
    assert report.returncode == 0 and "| not run |" in report.stdout
    assert mmtrt(tmp_path, "cache", "verify").returncode == 0
    # The same command goes on: what was finished is a hit.
    plan = json.loads(mmtrt(tmp_path, "plan", *words, "--json").stdout)
    hits = {stage["id"] for stage in plan["stages"] if stage["status"] == "hit"}
    whole = [point for point in plan["points"] if set(point["stages"].values()) <= hits]
    assert before.count("done") <= len(whole) < 40


SWEEPER = '''\
"""A sweeper of its own: goes on with the better of two, as those that search do."""

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper


class Halving(Sweeper):
    def __init__(self, direction, low, high):
        self.low, self.high = low, high

    def setup(self, *, hydra_context, task_function, config):
        self.config, self.hydra_context = config, hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments):
        low, high, first = self.low, self.high, 0
        while low != high:
            batch = [[*arguments, f"workload.batch_size={n}"] for n in (low, high)]
            self.validate_batch_is_legal(batch)
            one, other = self.launcher.launch(batch, initial_job_idx=first)
            print("seen", one.return_value, other.return_value)
            if one.return_value <= other.return_value:
                high = (low + high) // 2
            else:
                low = (low + high + 1) // 2
            first += 2
'''
HALVING = "_target_: hydra_plugins.halving.Halving\ndirection: minimize\nlow: 1\nhigh: 4\n"


def test_another_sweeper(swept: Path, tmp_path: Path) -> None:
    (tmp_path / "hydra_plugins").mkdir()
    (tmp_path / "hydra_plugins/halving.py").write_text(SWEEPER)
    (tmp_path / "own/hydra/sweeper").mkdir(parents=True)
    (tmp_path / "own/hydra/sweeper/halving.yaml").write_text(HALVING)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    words = ("-m", "-cd", str(tmp_path / "own"), "recipe=llava", "hydra/sweeper=halving", *COMMON)
    store = f"paths.store={swept / 'outputs/store'}"
    done = in_process(tmp_path, *words, store, "sweep.objective=engine_bytes", PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    document = results(tmp_path)
    assert of_points(document, "id") == ["0", "1", "2", "3"]
    chosen = [point["overrides"]["workload.batch_size"] for point in document["points"]]
    assert chosen == [1, 4, 1, 2]
    sizes = of_points(document, "engine_bytes")
    seen = [line for line in done.stdout.splitlines() if line.startswith("seen")]
    assert seen == [f"seen {sizes[0]} {sizes[1]}", f"seen {sizes[2]} {sizes[3]}"]
    assert of_points(document, "hits")[0] == 3


def test_a_search_must_be_told_for_what() -> None:
    sweeping = Sweeping(Planning([]), Options(), "sweep", "mmtrt -m")
    with pytest.raises(UsageError, match="wants to know what to make better") as caught:
        sweeping.launch([("recipe=llava", *COMMON)], 0, is_search=True)
    assert caught.value.code == "CFG142"
    assert sweeping.record is None


def has(name: str) -> bool:
    try:
        return importlib.util.find_spec(f"hydra_plugins.{name}") is not None
    except ModuleNotFoundError:
        return False


FOREIGN: list[tuple[str, Sequence[str]]] = [
    ("hydra_joblib_launcher", ("hydra/launcher=joblib", "workload.batch_size=1,2")),
    (
        "hydra_optuna_sweeper",
        (
            *("hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=2"),
            *("workload.batch_size=range(1,3)", "sweep.objective=engine_bytes"),
        ),
    ),
]


@pytest.mark.parametrize(
    ("plugin", "words"),
    [
        pytest.param(*each, marks=pytest.mark.skipif(not has(each[0]), reason="not installed"))
        for each in FOREIGN
    ],
)
def test_plugins_of_others(swept: Path, tmp_path: Path, plugin: str, words: Sequence[str]) -> None:
    store = f"paths.store={swept / 'outputs/store'}"
    done = in_process(tmp_path, "-m", "recipe=llava", *words, *COMMON, store)
    assert done.returncode == 0, done.stderr
    assert of_points(results(tmp_path), "status") == ["done"] * 2
