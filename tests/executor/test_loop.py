"""The loop, climbing: no work, one stage, chain, diamond, failure, interrupt, corruption."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest

from mmtrt.artifacts.store import Store
from mmtrt.errors import HostError, Interrupted, MmtrtError
from mmtrt.executor import events
from mmtrt.executor.loop import RunResult, execute
from mmtrt.plan.assess import assess
from mmtrt.rules.check import CheckedPlan
from tests.waiting import LIMIT_S, wait_for_end, wait_until
from tests.worlds import ROOT, Shell, World, world


def run(w: World, *listeners: events.Listener) -> tuple[RunResult, list[events.Event]]:
    seen: list[events.Event] = []
    result = execute(CheckedPlan(w.plan(), ()), Store(w.root), (seen.append, *listeners))
    return result, seen


def until(place: Path) -> str:
    """Return a command that waits for a file, and fails where it would wait for ever."""
    wait = f"n=0; while [ ! -e {place} ]; do sleep 0.02; n=$((n+1)); "
    return wait + "[ $n -lt 5000 ] || exit 9; done"


def child(place: Path) -> str:
    """Return a script with a child of its own, whose id is in the file once there is one."""
    return f"sleep 600 & echo $! > {place}.new; mv {place}.new {place}; wait"


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
    assert [e.status for e in seen if isinstance(e, events.RunEnded)] == ["done"]
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


def test_a_change_outside_of_the_part_that_is_read_stops_the_rebuild(tmp_path):
    w = world(
        tmp_path,
        ("a", "echo llm > $1/llm; echo 1 > $1/vision"),
        ("b", "cat $2 > $1/out", ["a"]),
    )
    w.change("b", part="llm")
    run(w)
    w.change("a", script="echo llm > $1/llm; echo 2 > $1/vision")
    assert statuses(run(w)[0]) == {"a": "done", "b": "hit"}
    w.change("a", script="echo other > $1/llm; echo 2 > $1/vision")
    assert statuses(run(w)[0]) == {"a": "done", "b": "done"}


def test_an_input_that_comes_out_otherwise_than_planned_makes_another_key(tmp_path):
    w = world(tmp_path, ("a", "date +%s%N > $1/out"), ("b", "cat $2/out > $1/out", ["a"]))
    first, _ = run(w)
    store = Store(tmp_path)
    assessed = assess(w.plan(), store)
    assert assessed["b"].status == "hit"  # as long as a is there
    store.remove(first.artifacts["a"])
    result = execute(CheckedPlan(w.plan(), ()), store, assessment=assessed)
    assert statuses(result) == {"a": "done", "b": "done"}
    assert text(result, "b") == text(result, "a")


def test_diamond_runs_its_sides_at_the_same_time(tmp_path):
    # Each side waits for the other's mark: run one after the other they would never end.
    left, right = tmp_path / "left", tmp_path / "right"
    w = world(
        tmp_path / "store",
        ("top", "echo top > $1/out"),
        ("left", f"touch {left}; {until(right)}; echo left > $1/out", ["top"]),
        ("right", f"touch {right}; {until(left)}; echo right > $1/out", ["top"]),
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


@dataclass(frozen=True, kw_only=True)
class Measuring(Shell):
    MEASURES: ClassVar[bool] = True


def test_a_stage_that_measures_has_the_cpu_to_itself(tmp_path):
    busy, counts = tmp_path / "busy", tmp_path / "counts"
    busy.mkdir()
    script = f"ls {busy} | wc -l >> {counts}; touch {busy}/$$; sleep 0.2; rm {busy}/$$; "
    w = world(tmp_path / "store", *((f"s{i}", f"{script} echo {i} > $1/out") for i in range(3)))
    w.stages = {
        name: Measuring(id=name, model_name="model", script=stage.script)
        for name, stage in w.stages.items()
    }
    run(w)
    assert counts.read_text().split() == ["0"] * 3


def test_what_a_stage_reads_cannot_be_removed_meanwhile(tmp_path):
    reading, removed = tmp_path / "reading", tmp_path / "removed"
    w = world(
        tmp_path / "store",
        ("a", "echo x > $1/out"),
        ("b", f"touch {reading}; {until(removed)}; cat $2/out > $1/out", ["a"]),
    )
    actions: dict[str, str] = {}

    def collect() -> None:
        wait_until(reading.exists)
        rows = Store(tmp_path / "store").gc(frozenset(), None, None, False)
        actions.update({row.kind: row.action for row in rows})
        removed.touch()

    thread = threading.Thread(target=collect, daemon=True)
    thread.start()
    result, _ = run(w)
    thread.join()
    assert statuses(result) == {"a": "done", "b": "done"}
    assert set(actions.values()) == {"kept"}


def test_a_hit_counts_as_use(tmp_path):
    """What is used stays: ``cache gc`` goes by the time of the last use."""
    w = world(tmp_path, ("a", "echo x > $1/out"))
    first, _ = run(w)
    for path in first.artifacts["a"].path.parent.iterdir():
        os.utime(path, (1, 1))
    (row,) = Store(tmp_path).du()
    assert row.used_s < 1000
    run(w)
    (row,) = Store(tmp_path).du()
    assert row.used_s > 1e9


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
    assert [e.status for e in seen if isinstance(e, events.RunEnded)] == ["failed"]
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
    for keep_going, after in ((True, "done"), (False, "skipped")):
        told = tmp_path / f"told-{keep_going}"

        def tell(event: events.Event) -> None:
            if isinstance(event, events.StageBroke):
                told.touch()  # noqa: B023 - of this turn

        w = world(
            tmp_path / f"store-{keep_going}",
            ("bad", "exit 1"),
            ("slow", f"{until(told)}; echo x > $1/out"),
            ("next", "cat $2/out > $1/out", ["slow"]),
            keep_going=keep_going,
        )
        result, _ = run(w, tell)
        assert statuses(result) == {"bad": "failed", "slow": "done", "next": after}


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
    pid = tmp_path / "child"
    for seconds in (0.5, 5, 50):  # a busy machine may not have started the child by then
        w = world(tmp_path / "store", ("a", child(pid)), stage_timeout_s=seconds)
        result, _ = run(w)
        assert result.failures[0].message == f"stage a failed: timed out after {seconds:g} s"
        if pid.exists():
            break
    wait_for_end(int(pid.read_text()))


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
    # Each pause is twice the one before, so that a hub that is overrun gets time.
    assert [e.wait_s for e in seen if isinstance(e, events.StageRetries)] == [0.02, 0.04]


def test_long_stage_gives_signs_of_life(tmp_path):
    heard = tmp_path / "heard"
    beats: list[events.StageBeats] = []

    def listen(event: events.Event) -> None:
        if isinstance(event, events.StageBeats):
            beats.append(event)
            if len(beats) > 2 and event.last_line == "step 1":
                heard.touch()

    script = f"echo step 1 >&2; {until(heard)}; echo x > $1/out"
    result, _ = run(world(tmp_path / "store", ("a", script), heartbeat_s=0.1), listen)
    assert statuses(result) == {"a": "done"}
    assert {beat.last_line for beat in beats} <= {"", "step 1"}
    assert len(beats) <= beats[-1].seconds / 0.1 + 1  # never more often than asked


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
    pid = tmp_path / "child"
    w = world(tmp_path / "store", ("a", "echo x > $1/out"), ("b", child(pid), ["a"]))

    def press_ctrl_c() -> None:
        wait_until(pid.exists)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press_ctrl_c, daemon=True).start()
    ended: list[str] = []
    with pytest.raises(Interrupted):
        run(w, lambda event: isinstance(event, events.RunEnded) and ended.append(event.status))
    assert ended == ["interrupted"]
    wait_for_end(int(pid.read_text()))
    assert no_leftovers(tmp_path / "store")
    w.change("b", script="echo y > $1/out")
    result, _ = run(w)
    assert statuses(result) == {"a": "hit", "b": "done"}


def test_two_processes_with_the_same_key_build_once(tmp_path):
    # The one that builds goes on when the other one waits for it, whenever that starts.
    log, waits = tmp_path / "log", tmp_path / "waits"
    program = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from mmtrt.executor.events import StageWaits
from tests.executor.test_loop import run, statuses, until
from tests.worlds import world
waits = Path({str(waits)!r})
script = f"echo built >> {log}; {{until(waits)}}; echo x > $1/out"
w = world(Path({str(tmp_path / "store")!r}), ("a", script))
result, seen = run(w, lambda event: isinstance(event, StageWaits) and waits.touch())
print(statuses(result)["a"], "waited" if any(e.type == "stage_waits" for e in seen) else "")
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = sorted(process.communicate(timeout=LIMIT_S)[0].strip() for process in processes)
    assert log.read_text() == "built\n"
    assert outputs == ["done", "hit waited"]
