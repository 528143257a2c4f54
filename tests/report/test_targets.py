from __future__ import annotations

import pytest

from mmtrt.artifacts.store import Artifact, Store
from mmtrt.errors import UsageError
from mmtrt.report.runs import find_run, run_dirs
from mmtrt.report.targets import RunTarget, find_target
from tests.report.records import record
from tests.worlds import world


@pytest.fixture
def root(tmp_path):
    for index in range(3):
        record(tmp_path, world(tmp_path / "store", ("download", f"echo {index} > $1/w")))
    return tmp_path


def test_runs_are_counted_back_from_the_newest(root):
    newest, middle, oldest = run_dirs(root / "runs")
    runs = root / "runs"
    assert find_run(runs, "latest") == find_run(runs, "last") == find_run(runs) == newest
    assert find_run(runs, "latest~0") == newest
    assert find_run(runs, "latest~1") == find_run(runs, "last~1") == find_run(runs, "~1") == middle
    assert find_run(runs, "llava~2") == oldest
    assert find_run(runs, newest.name[:9] + "~1") == middle
    with pytest.raises(UsageError, match="there are only 3 runs named llava") as told:
        find_run(runs, "llava~3")
    assert told.value.fix == f"the oldest is {oldest.name}"


def test_artifacts_are_named_by_path_kind_and_key(root):
    artifacts = list(Store(root / "store").artifacts())
    assert len(artifacts) == 3
    for artifact in artifacts:
        for name in (
            *(str(artifact.path), str(artifact.directory), artifact.key),
            *(artifact.key[:8], f"shell/{artifact.key[:8]}"),
        ):
            found = find_target(name, root / "runs", root / "store")
            assert isinstance(found, Artifact) and found.key == artifact.key, name


def test_a_name_of_neither_is_that_of_a_run(root):
    assert isinstance(find_target(None, root / "runs", root / "store"), RunTarget)
    assert isinstance(find_target("llava", root / "runs", root / "store"), RunTarget)
    with pytest.raises(UsageError, match="no run is called"):
        find_target("0123456789", root / "runs", root / "store")
    with pytest.raises(UsageError, match="no artifacts begin with shell/0123456"):
        find_target("shell/0123456", root / "runs", root / "store")


def test_a_beginning_of_two_keys_is_refused(root, monkeypatch):
    monkeypatch.setattr("mmtrt.report.targets.MIN_KEY_DIGITS", 0)
    with pytest.raises(UsageError, match="3 artifacts begin with shell/") as told:
        find_target("shell/", root / "runs", root / "store")
    assert told.value.fix == "give more digits"


def test_a_stage_that_is_not_there_is_told(root):
    run = find_target("latest", root / "runs", root / "store")
    assert isinstance(run, RunTarget)
    assert run.one("download").kind == "shell"
    with pytest.raises(UsageError, match="no output of a stage 'build'"):
        run.one("build")
