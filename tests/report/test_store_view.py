from __future__ import annotations

import json

import pytest

from mmtrt.artifacts.store import Store
from mmtrt.errors import UsageError
from mmtrt.report.runs import run_dirs
from mmtrt.report.store_view import (
    age_text,
    bytes_of,
    keys_in_use,
    list_json,
    seconds_of,
    usage_json,
)
from tests.report.records import CHAIN, broken, record
from tests.worlds import world


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("45s", 45), ("90m", 5400), ("1.5h", 5400), ("30d", 2592000), ("2W", 1209600)],
)
def test_ages(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *(("0", 0), ("1024", 1024), ("1k", 1000), ("1KiB", 1024), ("50GiB", 50 << 30)),
        *(("1.5 TiB", 3 << 39), ("500MB", 500_000_000), ("7 b", 7)),
    ],
)
def test_sizes(text, size):
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["", "d", "30", "-1d", "1y", "30 days"])
def test_what_is_no_age_is_refused(text):
    with pytest.raises(UsageError):
        seconds_of(text)


@pytest.mark.parametrize("text", ["", "GiB", "-1", "1PiB", "1e3"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(UsageError):
        bytes_of(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (172800, "2 d"), (9e6, "104 d")],
)
def test_age_in_one_unit(seconds, text):
    assert age_text(seconds) == text


def test_rows_tell_what_made_an_artifact(tmp_path):
    record(tmp_path)
    document = list_json(Store(tmp_path / "store"), None, lambda path, why: pytest.fail(why))
    rows = document["artifacts"]
    assert {row["stage"] for row in rows} == {"download", "build_llm"}
    assert {row["model"] for row in rows} == {"model"}
    assert all(row["seconds"] > 0 and row["size_bytes"] > 0 for row in rows)
    json.dumps(document)


def test_an_unreadable_artifact_is_reported_and_left_out(tmp_path):
    record(tmp_path)
    store = Store(tmp_path / "store")
    manifest = next(iter(store.directories())) / "manifest.json"
    manifest.chmod(0o600)
    manifest.write_text("{")
    seen = []
    rows = list_json(store, None, lambda path, why: seen.append(path))["artifacts"]
    assert len(rows) == 1
    assert seen == [manifest.parent]


def test_links_take_their_space_once(tmp_path):
    record(
        tmp_path,
        world(
            tmp_path / "store",
            ("a", "head -c 100000 /dev/zero > $1/big"),
            ("b", "ln $2/big $1/big", ["a"]),
        ),
    )
    document = usage_json(Store(tmp_path / "store"))
    assert document["shared_bytes"] >= 100000
    (kind,) = (row for row in document["kinds"] if row["kind"] == "shell")
    assert kind["count"] == 2
    assert document["total_bytes"] == kind["added_bytes"]
    assert document["total_bytes"] + document["shared_bytes"] == kind["size_bytes"]


def test_what_the_newest_run_used_is_in_use(tmp_path):
    record(tmp_path)
    w = world(tmp_path / "store", *CHAIN)
    w.change("build_llm", script="cp $2/w $1/other")
    record(tmp_path, w)
    store = Store(tmp_path / "store")
    stages = [a.manifest.stage for a in store.artifacts() if (a.kind, a.key) in in_use(tmp_path)]
    assert sorted(stages) == ["build_llm", "download"]
    assert len(list(store.artifacts())) == 3


def test_a_failed_run_keeps_what_the_last_good_one_used(tmp_path):
    record(tmp_path)
    w = broken(tmp_path)
    w.change("build_llm", script="cp $2/w $1/other")
    record(tmp_path, w)
    assert in_use(tmp_path) == {(a.kind, a.key) for a in Store(tmp_path / "store").artifacts()}
    assert len(in_use(tmp_path)) == 3


def test_without_records_nothing_is_in_use(tmp_path):
    assert keys_in_use(tmp_path / "runs") == frozenset()
    assert run_dirs(tmp_path / "runs") == []


def in_use(root) -> set[tuple[str, str]]:
    return set(keys_in_use(root / "runs"))
