"""The loop, climbing: no work, one stage, chain, diamond, failure, interrupt, corruption."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mmtrt.artifacts.store import Store
from mmtrt.errors import HostError, Interrupted, MmtrtError
from mmtrt.executor import events
from mmtrt.executor.loop import RunResult, execute
from mmtrt.plan.assess import assess
from mmtrt.rules.check import CheckedPlan
from tests.worlds import ROOT, World, world


def run(w: World, **options) -> tuple[RunResult, list[events.Event]]:
    seen: list[events.Event] = []
    result = execute(CheckedPlan(w.plan(), ()), Store(w.root), (seen.append,), **options)
    return result, seen


def statuses(result: RunResult) -> dict[str, str]:
    return {stage.id: stage.status for stage in result.stages}


def text(result: RunResult, stage: str, name: str = "out") -> str:
    return (result.artifacts[stage].path / name).read_text()


def no_leftovers(root: Path) -> bool:
    staging = root / ".staging"
    return not staging.exists() or not any(staging.iterdir())


def test_no_stages_is_no_work(tmp_path):
    result, seen = run(world(tmp_path))
    assert result.stages == ()
    assert [event.type for event in seen] == ["run_started", "run_ended"]


def test_one_stage_runs_once(tmp_path):
    w = world(tmp_path, ("a", "echo hello > $1/out"))
    first, _ = run(w)
    assert statuses(first) == {"a": "done"}
    assert text(first, "a") == "hello\n"
    second, seen = run(w)
    assert statuses(second) == {"a": "hit"}
    assert "stage_started" not in [event.type for event in seen]
    assert no_leftovers(tmp_path)


def test_chain_hands_outputs_on(tmp_path):
    w = world(
        tmp_path,
        ("a", "echo 1 > $1/out"),
        ("b", "cat $2/out > $1/out; echo 2 >> $1/out", ["a"]),
        ("c", "cat $2/out > $1/out; echo 3 >> $1/out", ["b"]),
    )
    result, _ = run(w)
    assert text(result, "c") == "1\n2\n3\n"


def test_unchanged_output_stops_the_rebuild(tmp_path):
    w = world(tmp_path, ("a", "echo same > $1/out"), ("b", "cat $2/out > $1/out", ["a"]))
    run(w)
    w.change("a", script="echo same > $1/out # said otherwise")
    states = assess(w.plan(), Store(tmp_path))
    assert (states["a"].status, states["b"].status) == ("run", "maybe")
    result, _ = run(w)
    assert statuses(result) == {"a": "done", "b": "hit"}


def test_changed_output_rebuilds_what_reads_it(tmp_path):
    w = world(tmp_path, ("a", "echo 1 > $1/out"), ("b", "cat $2/out > $1/out", ["a"]))
    run(w)
    w.change("a", script="echo 2 > $1/out")
    result, _ = run(w)
    assert statuses(result) == {"a": "done", "b": "done"}
    assert text(result, "b") == "2\n"


def test_diamond_runs_its_sides_at_the_same_time(tmp_path):
    # Each side waits for the other's mark: run one after the other they would never end.
    meet = "touch {root}/{me}; n=0; while [ ! -e {root}/{other} ]; do sleep 0.02; n=$((n+1)); "
    meet += "[ $n -lt 500 ] || exit 9; done; echo {me} > $1/out"
    root = tmp_path / "marks"
    root.mkdir()
    w = world(
        tmp_path / "store",
        ("top", "echo top > $1/out"),
        ("left", meet.format(root=root, me="left", other="right"), ["top"]),
        ("right", meet.format(root=root, me="right", other="left"), ["top"]),
        ("bottom", "cat $2/out $3/out > $1/out", ["left", "right"]),
    )
    result, _ = run(w)
    assert text(result, "bottom") == "left\nright\n"


def test_jobs_limits_how_many_run_at_once(tmp_path):
    script = f"ls {tmp_path}/busy | wc -l >> {tmp_path}/counts; touch {tmp_path}/busy/$$; "
    script += f"sleep 0.1; rm {tmp_path}/busy/$$; echo x > $1/out"
    (tmp_path / "busy").mkdir()
    stages = [(f"s{i}", f"{script} # {i}") for i in range(5)]
    run(world(tmp_path / "store", *stages, jobs=1))
    assert set((tmp_path / "counts").read_text().split()) == {"0"}


def test_failure_shows_log_and_command_and_skips_the_rest(tmp_path):
    w = world(
        tmp_path,
        ("good", "echo ok > $1/out"),
        ("bad", "echo half > $1/out; echo 'no space on device 7' >&2; exit 3", ["good"]),
        ("after", "cat $2/out > $1/out", ["bad"]),
    )
    result, seen = run(w)
    assert statuses(result) == {"good": "done", "bad": "failed", "after": "skipped"}
    (broke,) = [event for event in seen if isinstance(event, events.StageBroke)]
    assert broke.status == "exit status 3"
    assert broke.last_lines == ["no space on device 7"]
    assert "no space on device 7" in Path(broke.log).read_text()
    again = subprocess.run(["sh", "-c", broke.repeat], capture_output=True, text=True)
    assert "no space on device 7" in again.stderr
    assert no_leftovers(tmp_path)


def test_failure_is_never_cached(tmp_path):
    gate = tmp_path / "gate"
    w = world(tmp_path / "store", ("a", f"test -e {gate} && echo ok > $1/out"))
    assert statuses(run(w)[0]) == {"a": "failed"}
    gate.touch()
    assert statuses(run(w)[0]) == {"a": "done"}


def test_keep_going_finishes_what_does_not_need_the_failure(tmp_path):
    stages = (
        ("bad", "exit 1"),
        ("slow", "sleep 0.3; echo x > $1/out"),
        ("next", "cat $2/out > $1/out", ["slow"]),
    )
    result, _ = run(world(tmp_path / "a", *stages, keep_going=True))
    assert statuses(result) == {"bad": "failed", "slow": "done", "next": "done"}
    result, _ = run(world(tmp_path / "b", *stages))
    assert statuses(result) == {"bad": "failed", "slow": "done", "next": "skipped"}


def test_missing_declared_output_fails(tmp_path):
    w = world(tmp_path, ("a", "true"))
    plan = w.plan()
    node = plan.nodes[0]
    promising = replace(node, command=replace(node.command, outputs={"engine": "model.engine"}))
    result = execute(CheckedPlan(replace(plan, nodes=(promising,)), ()), Store(tmp_path))
    assert "did not write its engine (model.engine)" in result.failures[0].message


def test_mistake_of_ours_while_publishing_does_not_hang_the_loop(tmp_path, monkeypatch):
    def publish(*args, **kwargs):
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(Store, "publish", publish)
    with pytest.raises(ZeroDivisionError, match="ours"):
        run(world(tmp_path, ("a", "echo x > $1/out"), ("b", "sleep 100")))
    assert no_leftovers(tmp_path)


def test_stage_that_cannot_start_is_an_error_with_its_name(tmp_path):
    w = world(tmp_path, ("a", "true"))
    plan = w.plan()
    node = plan.nodes[0]
    lost = replace(node, command=replace(node.command, argv=("no-such-program",)))
    with pytest.raises(MmtrtError, match="stage a could not be started"):
        execute(CheckedPlan(replace(plan, nodes=(lost,)), ()), Store(tmp_path))
    assert no_leftovers(tmp_path)


def test_timeout_ends_the_whole_group(tmp_path):
    script = f"sleep 100 & echo $! > {tmp_path}/child; wait"
    w = world(tmp_path / "store", ("a", script), stage_timeout_s=0.5)
    result, _ = run(w)
    assert result.failures[0].message == "stage a failed: timed out after 0.5 s"
    assert not alive(int((tmp_path / "child").read_text()))


def test_network_failure_is_tried_again(tmp_path, monkeypatch):
    count = tmp_path / "count"
    script = f"echo x >> {count}; [ $(wc -l < {count}) -ge 2 ] || exit 75; echo ok > $1/out"
    w = world(tmp_path / "store", ("a", script), network_retries=3)
    w.change("a", retry=75)
    monkeypatch.setattr("mmtrt.executor.loop.RETRY_BASE_S", 0.05)
    result, seen = run(w)
    assert statuses(result) == {"a": "done"}
    assert [e.type for e in seen if e.type == "stage_retries"] == ["stage_retries"]


def test_network_failure_is_given_up_in_the_end(tmp_path, monkeypatch):
    w = world(tmp_path, ("a", "exit 75"), network_retries=2)
    w.change("a", retry=75)
    monkeypatch.setattr("mmtrt.executor.loop.RETRY_BASE_S", 0.02)
    result, seen = run(w)
    assert statuses(result) == {"a": "failed"}
    assert len([e for e in seen if isinstance(e, events.StageStarted)]) == 3


def test_long_stage_gives_signs_of_life(tmp_path):
    w = world(tmp_path, ("a", "echo step 1 >&2; sleep 0.7; echo x > $1/out"), heartbeat_s=0.2)
    _, seen = run(w)
    beats = [event for event in seen if isinstance(event, events.StageBeats)]
    assert beats[0].last_line == "step 1"
    assert len(beats) <= beats[-1].seconds / 0.2 + 1  # never more often than asked


def test_forced_stage_runs_although_it_is_a_hit(tmp_path):
    w = world(tmp_path, ("a", "date +%N > $1/out"))
    run(w)
    w.force = "all"
    result, seen = run(w)
    assert statuses(result) == {"a": "done"}
    (started,) = [event for event in seen if isinstance(event, events.StageStarted)]
    assert started.reasons == [{"type": "forced"}]


def test_damaged_artifact_is_built_again(tmp_path):
    w = world(tmp_path, ("a", "echo right > $1/out"))
    first, _ = run(w)
    broken = first.artifacts["a"].path / "out"
    broken.chmod(0o644)
    broken.write_text("wrong and longer")
    state = assess(w.plan(), Store(tmp_path))["a"]
    assert (state.status, state.reasons[0].type) == ("run", "output_corrupt")
    result, _ = run(w)
    assert statuses(result) == {"a": "done"}
    assert text(result, "a") == "right\n"


def test_missing_file_is_built_again(tmp_path):
    w = world(tmp_path, ("a", "echo right > $1/out"))
    first, _ = run(w)
    (first.artifacts["a"].path / "out").unlink()
    state = assess(w.plan(), Store(tmp_path))["a"]
    assert (state.status, state.reasons[0].type) == ("run", "output_missing")
    assert statuses(run(w)[0]) == {"a": "done"}


def test_input_that_changes_while_it_is_read_is_not_kept(tmp_path):
    source = tmp_path / "source"
    source.write_text("old")
    script = f"cat $2 > $1/out; echo changed > {source}"
    w = world(tmp_path / "store", ("a", script))
    w.change("a", reads=(str(source),))
    result, _ = run(w)
    assert statuses(result) == {"a": "failed"}
    assert "changed while stage a read it" in result.failures[0].message


def test_plan_needing_more_gpus_than_there_are_starts_nothing(tmp_path):
    w = world(tmp_path, ("first", "echo x > $1/out"), ("a", "echo x > $1/out"))
    w.change("a", gpus=1)
    with pytest.raises(HostError, match="needs 1 GPU"):
        run(w)
    assert not (tmp_path / "shell").exists()


@pytest.mark.parametrize(
    "name", ["with space", "quote'd", 'double"quote', "dollar $HOME", "ümlaut"]
)
def test_hostile_store_paths_survive(tmp_path, name):
    w = world(tmp_path / name, ("a", 'echo 1 > "$1/out"'), ("b", 'cat "$2/out" > "$1/out"', ["a"]))
    result, _ = run(w)
    assert text(result, "b") == "1\n"
    assert statuses(run(w)[0]) == {"a": "hit", "b": "hit"}


def test_interrupt_ends_groups_and_leaves_nothing(tmp_path):
    script = f"sleep 100 & echo $! > {tmp_path}/child; wait"
    w = world(tmp_path / "store", ("a", "echo x > $1/out"), ("b", script, ["a"]))

    def press_ctrl_c() -> None:
        while not (tmp_path / "child").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press_ctrl_c).start()
    with pytest.raises(Interrupted):
        run(w)
    assert not alive(int((tmp_path / "child").read_text()))
    assert no_leftovers(tmp_path / "store")
    w.change("b", script="echo y > $1/out")
    result, _ = run(w)
    assert statuses(result) == {"a": "hit", "b": "done"}


def test_two_processes_with_the_same_key_build_once(tmp_path):
    log = tmp_path / "log"
    program = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from tests.executor.test_loop import run, statuses
from tests.worlds import world
w = world(Path({str(tmp_path / "store")!r}), ("a", "echo built >> {log}; sleep 1; echo x > $1/out"))
result, seen = run(w)
print(statuses(result)["a"], "waited" if any(e.type == "stage_waits" for e in seen) else "")
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = sorted(process.communicate(timeout=60)[0].strip() for process in processes)
    assert log.read_text() == "built\n"
    assert outputs == ["done", "hit waited"]


def alive(pid: int) -> bool:
    """Return whether a process runs; zombies do not."""
    for _ in range(50):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            return False
        if state == "Z":
            return False
        time.sleep(0.02)
    return True
