from __future__ import annotations

import json
import os
import time

import pytest

from mmtrt.artifacts.store import Store
from mmtrt.cli import dispatch
from tests.report.records import CHAIN, record
from tests.worlds import world


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("MMTRT_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("MMTRT_RUNS", str(tmp_path / "runs"))
    return tmp_path


@pytest.fixture
def filled(root):
    """Two runs; the second left one artifact of the first unused."""
    record(root)
    w = world(root / "store", *CHAIN)
    w.change("build_llm", script="cp $2/w $1/other")
    record(root, w)
    return root


def count(root) -> int:
    return len(list(Store(root / "store").artifacts()))


def as_json(capsys, *words: str) -> dict:
    assert dispatch(["cache", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_ls_tells_kind_key_model_size_and_ages(filled, capsys):
    assert dispatch(["cache", "ls"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["KIND", "KEY", "MODEL", "SIZE", "AGE", "BUILT-IN", "LAST-USE"]
    assert len(rows) == 3
    assert all(row.split()[0] == "shell" and row.split()[2] == "model" for row in rows)
    assert len(as_json(capsys, "ls", "--kind", "shell")["artifacts"]) == 3
    assert as_json(capsys, "ls", "--kind", "run")["artifacts"] == []


def test_du_adds_up(filled, capsys):
    assert dispatch(["cache", "du"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[1].split()[:2] == ["shell", "3"]
    document = as_json(capsys, "du")
    assert document["total_bytes"] == sum(kind["added_bytes"] for kind in document["kinds"])


def test_verify_finds_a_changed_byte(filled, capsys):
    assert dispatch(["cache", "verify"]) == 0
    assert "3 artifacts verified: all as recorded" in capsys.readouterr().err
    path = next((filled / "store").glob("shell/*/model/engine"))
    status = path.stat()
    path.chmod(0o600)
    path.write_bytes(b"WEIGHTS\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert dispatch(["cache", "verify", "--json"]) == 1
    out, err = capsys.readouterr()
    document = json.loads(out)
    (problem,) = document["problems"]
    assert (problem["code"], problem["path"]) == ("ART172", str(path))
    assert "1 problem" in err and "1 set aside" in err
    # No run takes it any more; gc gives back its space.
    assert not path.exists() and len(document["set_aside"]) == 1
    assert dispatch(["cache", "verify"]) == 0
    assert "2 artifacts verified: all as recorded" in capsys.readouterr().err


def test_gc_keeps_what_the_newest_run_used(filled, capsys):
    assert dispatch(["cache", "gc", "--dry-run"]) == 0
    out, err = capsys.readouterr()
    assert "would remove" in out
    assert "1 would be removed" in err
    assert count(filled) == 3
    assert dispatch(["cache", "gc"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert "1 removed" in err
    assert count(filled) == 2
    assert dispatch(["cache", "gc"]) == 0
    assert capsys.readouterr().out == ""


def test_gc_all_empties_the_store(filled, capsys):
    document = as_json(capsys, "gc", "--all")
    assert [row["action"] for row in document["removals"]] == ["removed"] * 3
    assert document["freed_bytes"] > 0
    assert count(filled) == 0


def test_gc_by_age(filled, capsys):
    old = time.time() - 40 * 86400
    for directory in Store(filled / "store").directories():
        for name in ("manifest.json", ".used"):
            if (directory / name).exists():
                os.utime(directory / name, (old, old))
    assert as_json(capsys, "gc", "--all", "--older-than", "50d")["removals"] == []
    assert len(as_json(capsys, "gc", "--older-than", "30d")["removals"]) == 1
    assert len(as_json(capsys, "gc", "--older-than", "30d", "--all")["removals"]) == 2


def test_gc_by_size(filled, capsys):
    assert as_json(capsys, "gc", "--all", "--max-size", "1GiB")["removals"] == []
    assert len(as_json(capsys, "gc", "--all", "--max-size", "0")["removals"]) == 3


def test_gc_without_records_does_not_empty_the_store(filled, capsys):
    assert dispatch(["cache", "gc", "--runs", str(filled / "nowhere")]) == 2
    assert "would empty the store" in capsys.readouterr().err
    assert count(filled) == 3


def test_the_store_may_be_named_in_three_ways(filled, capsys, monkeypatch):
    monkeypatch.delenv("MMTRT_STORE")
    store = filled / "store"
    for words in ([f"--store={store}"], ["--store", str(store)], [f"paths.store={store}"]):
        assert len(as_json(capsys, "ls", *words)["artifacts"]) == 3


@pytest.mark.parametrize("verb", ["ls", "du", "verify", "gc"])
def test_no_store_is_no_error(root, capsys, verb):
    assert dispatch(["cache", verb]) == 0
    assert "there is no store" in capsys.readouterr().err
    assert not (root / "store").exists()


def test_mistakes_are_told(root, capsys):
    for words, text in (
        ([], "its verbs are ls, du, verify, gc"),
        (["lss"], "fix: mmtrt cache ls"),
        (["ls", "--dry-run"], "mmtrt cache ls has no --dry-run"),
        (["gc", "--older-than", "soon"], "'soon' is no age"),
        (["gc", "--max-size", "big"], "'big' is no size"),
    ):
        assert dispatch(["cache", *words]) == 2
        assert text in capsys.readouterr().err
