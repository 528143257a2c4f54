"""The timer's arithmetic, with made-up times: nothing here measures."""

from __future__ import annotations

import sys

import pytest

from benchmarks.timing import (
    MeasurementFailed,
    Process,
    Sample,
    Timing,
    difference_s,
    interleave,
    ratio,
    timed,
)


def timing(*walls: float) -> Timing:
    return Timing(tuple(Sample(wall, wall / 2) for wall in walls))


def test_median_range_and_processor_time():
    t = timing(3.0, 1.0, 2.0, 90.0, 2.5)
    assert (t.median_s, t.low_s, t.high_s, t.cpu_s) == (2.5, 1.0, 90.0, 1.25)


def test_even_count_takes_the_middle_of_the_two():
    assert timing(1.0, 2.0, 4.0, 8.0).median_s == 3.0


def test_contenders_take_turns_and_warm_up():
    calls: list[str] = []

    def contender(name: str, wall: float):
        def run() -> Sample:
            calls.append(name)
            return Sample(wall + len(calls), 0.0)

        return run

    timings = interleave({"a": contender("a", 0), "b": contender("b", 100)}, rounds=2, warmups=1)
    assert calls == ["a", "b"] * 3
    assert [s.wall_s for s in timings["a"].samples] == [3.0, 5.0]
    assert [s.wall_s for s in timings["b"].samples] == [104.0, 106.0]


def test_ratio_is_taken_round_by_round():
    # The machine was ten times slower in the last round; that must not move the ratio.
    assert ratio(timing(2.0, 4.0, 30.0), timing(1.0, 2.0, 10.0)) == 2.0


def test_difference_is_taken_round_by_round():
    assert difference_s(timing(2.0, 4.0, 30.0), timing(1.0, 2.0, 29.0)) == 1.0


def test_rounds_must_match():
    with pytest.raises(ValueError, match="shorter"):
        ratio(timing(1.0, 2.0), timing(1.0))


def test_timed_calls_the_function_once():
    calls = []
    sample = timed(lambda: calls.append(1))()
    assert calls == [1]
    assert sample.wall_s >= 0.0


def test_process_gets_its_environment_and_directory(tmp_path):
    script = "import os, pathlib; print(os.environ['ASKED'], pathlib.Path.cwd().name)"
    out = tmp_path / "out"
    sample = Process([sys.executable, "-c", script], tmp_path, {"ASKED": "yes"}, out)()
    assert out.read_text() == f"yes {tmp_path.name}\n"
    assert sample.cpu_s > 0


def test_failed_process_is_no_measurement(tmp_path):
    script = "import sys; print('first', file=sys.stderr); sys.exit('no such recipe')"
    with pytest.raises(MeasurementFailed, match=r"exited with 1: no such recipe$"):
        Process([sys.executable, "-c", script], tmp_path, {})()
