from __future__ import annotations

import pytest

from mmtrt.errors import UsageError
from mmtrt.report.runs import find_run, recipe_of, run_dirs

NAMES = [
    "20260102T030405Z-llava_next",
    "20260102T030405Z-1-llava",
    "20260102T030405Z-llava",
    "20260101T000000Z-llava",
]
"""Newest first."""


@pytest.fixture
def runs(tmp_path):
    for name in (*NAMES, "notes"):
        (tmp_path / name).mkdir()
    (tmp_path / "20270101T000000Z-file").write_text("no directory")
    return tmp_path


def test_newest_run_comes_first(runs):
    assert [path.name for path in run_dirs(runs)] == [NAMES[1], NAMES[0], *NAMES[2:]]


def test_no_directory_is_no_runs(tmp_path):
    assert run_dirs(tmp_path / "missing") == []


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (None, NAMES[1]),
        ("last", NAMES[1]),
        ("llava", NAMES[1]),
        ("llava_next", NAMES[0]),
        (NAMES[3], NAMES[3]),
        ("20260101", NAMES[3]),
    ],
)
def test_a_run_is_found_by(runs, name, found):
    assert find_run(runs, name) == runs / found


def test_a_path_is_taken_as_it_is(runs, tmp_path):
    assert find_run(tmp_path / "elsewhere", str(runs / NAMES[2])) == runs / NAMES[2]


def test_an_unknown_run_is_refused_with_the_nearest(runs):
    with pytest.raises(UsageError) as error:
        find_run(runs, "lava_next")
    assert error.value.fix == "use llava_next"
    assert NAMES[0] in (error.value.why or "")


def test_no_runs_at_all_are_told(tmp_path):
    with pytest.raises(UsageError, match="no run is recorded"):
        find_run(tmp_path)


def test_recipe_of_a_record():
    assert recipe_of(NAMES[1]) == "llava"
    assert recipe_of("notes") == ""
