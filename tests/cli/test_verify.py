from __future__ import annotations

import json
from dataclasses import replace

import pytest

from mmtrt.artifacts.store import Store
from mmtrt.cli import dispatch
from mmtrt.stages import STAGE_TYPES
from tests.report.records import record
from tests.worlds import Shell, world

CHAIN = (
    ("download", "echo weights > $1/w; echo more > $1/v"),
    ("convert", "cat $2/w $2/v > $1/c", ["download"]),
)


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMTRT_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("MMTRT_STORE", str(tmp_path / "store"))
    # Shell stages are none of mmtrt's own; what they promise is what any stage does.
    monkeypatch.setitem(STAGE_TYPES, "shell", Shell)
    return tmp_path


def verified(capsys, *words: str) -> tuple[int, dict]:
    code = dispatch(["verify", *words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def artifact(root, stage: str):
    return next(a for a in Store(root / "store").artifacts() if a.manifest.stage == stage)


def test_files_are_hashed_again(root, capsys):
    record(root, world(root / "store", *CHAIN))
    assert dispatch(["verify"]) == 0
    assert "2 artifacts verified, all as recorded" in capsys.readouterr().err
    path = artifact(root, "convert").path / "c"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().swapcase())
    code, document = verified(capsys)
    assert (code, document["same"]) == (1, False)
    assert {row["code"] for row in document["problems"]} == {"ART172"}
    # What is damaged is no measure for a rebuild.
    code, document = verified(capsys, "--rebuild", "all")
    assert (code, document["rebuilds"]) == (1, [])


def test_only_the_runs_own_artifacts_are_looked_at(root, capsys):
    w = world(root / "store", *CHAIN)
    record(root, w)
    w.change("convert", script="cat $2/v > $1/c")
    record(root, w)
    damaged = next(
        a for a in Store(root / "store").artifacts() if "$2/w $2/v" in str(a.manifest.command)
    )
    (damaged.path / "c").chmod(0o644)
    (damaged.path / "c").write_text("x")
    assert dispatch(["verify", "latest"]) == 0
    assert dispatch(["verify", "latest~1"]) == 1


def test_a_rebuild_makes_the_same_and_leaves_the_store_alone(root, capsys):
    record(root, world(root / "store", *CHAIN))
    before = {p: p.stat().st_mtime_ns for p in (root / "store").rglob("*") if p.is_file()}
    code, document = verified(capsys, "--rebuild", "all")
    assert code == 0, document
    assert [(r["stage"], r["verdict"]) for r in document["rebuilds"]] == [
        ("download", "same"),
        ("convert", "same"),
    ]
    after = {p: p.stat().st_mtime_ns for p in (root / "store").rglob("*") if p.is_file()}
    assert {p for p in after if ".locks" not in p.parts} == set(before) - {
        p for p in before if ".locks" in p.parts
    }
    assert all(after[p] == before[p] for p in before if p in after and ".memo" not in p.name)
    assert not list((root / "store/.staging").iterdir())


def test_what_differs_is_named(root, capsys):
    script = "cp $2/w $1/same; mkdir $1/d; date +%s%N > $1/d/stamp; echo $$ > $1/pid"
    record(root, world(root / "store", CHAIN[0], ("convert", script, ["download"])))
    assert dispatch(["verify", "--rebuild", "convert"]) == 1
    out, err = capsys.readouterr()
    assert "convert  bitwise   differs     d/stamp: byte" in out
    assert "pid" in out and "same" not in out.replace("the same", "")
    assert err.endswith("2 artifacts verified, all as recorded, 1 differs\n")


def test_a_scratch_directory_may_be_chosen(root, capsys):
    record(root, world(root / "store", *CHAIN))
    scratch = root / "elsewhere"
    assert verified(capsys, "--rebuild", "convert", "--scratch", str(scratch))[0] == 0
    assert not list((scratch / ".staging").iterdir())


def test_a_failing_rebuild_shows_its_last_lines(root, capsys):
    script = f"if [ -e {root}/gone ]; then echo no longer >&2; exit 4; fi; touch $1/x"
    record(root, world(root / "store", ("download", script)))
    (root / "gone").touch()
    code, document = verified(capsys, "--rebuild", "all")
    (row,) = document["rebuilds"]
    assert (code, row["verdict"]) == (1, "failed")
    assert "error[RUN131]" in row["detail"] and "no longer" in row["detail"]


def test_a_changed_input_is_told(root, capsys):
    (root / "mine").write_text("1")
    w = world(root / "store", ("download", "cp $2 $1/w"))
    w.stages["download"] = replace(w.stages["download"], reads=(str(root / "mine"),))
    record(root, w)
    assert verified(capsys, "--rebuild", "all")[0] == 0
    (root / "mine").write_text("2")
    detail = verified(capsys, "--rebuild", "all")[1]["rebuilds"][0]["detail"]
    assert "ART131" in detail and "local file mine has changed" in detail
    (root / "mine").unlink()
    assert "is gone" in verified(capsys, "--rebuild", "all")[1]["rebuilds"][0]["detail"]


def test_inputs_are_found_by_content_where_the_manifest_does_not_name_them(root, capsys):
    """Manifests of older versions hold digests of inputs only."""
    record(root, world(root / "store", *CHAIN))
    path = artifact(root, "convert").directory / "manifest.json"
    document = json.loads(path.read_text())
    del document["made"]
    path.write_text(json.dumps(document))
    assert verified(capsys, "--rebuild", "convert")[0] == 0
    Store(root / "store").remove(artifact(root, "download"))
    code, document = verified(capsys, f"shell/{artifact(root, 'convert').key}", "--rebuild", "all")
    assert code == 1 and "input download of stage convert" in document["rebuilds"][0]["detail"]


def test_credentials_cannot_be_repeated(root, capsys):
    record(root, world(root / "store", ("download", "touch $1/x # https://u:secretpw@h")))
    _, document = verified(capsys, "--rebuild", "all")
    assert "ART132" in document["rebuilds"][0]["detail"]


def test_an_unknown_stage_is_told(root, capsys):
    record(root, world(root / "store", *CHAIN))
    assert dispatch(["verify", "--rebuild", "convrt"]) == 2
    assert "there are those of download, convert" in capsys.readouterr().err


def test_outputs_that_are_gone_are_told(root, capsys):
    record(root, world(root / "store", *CHAIN))
    Store(root / "store").remove(artifact(root, "download"))
    code, document = verified(capsys)
    assert code == 1 and list(document["gone"]) == ["download"]


def test_fake_engines_are_compared_by_their_limits(root, capsys):
    assert dispatch(["recipe=llava", "backend=fake", "-q", "paths.store=store"]) == 0
    capsys.readouterr()
    code, document = verified(capsys, "--rebuild", "all")
    verdicts = {row["stage"]: row["verdict"] for row in document["rebuilds"]}
    assert code == 0, document
    assert verdicts.pop("run") == "skipped"
    assert set(verdicts.values()) == {"same"}
    # The next build of TensorRT gives other bytes and the same limits.
    engine = artifact(root, "build_llm")
    _forge(engine, "rank0.engine", lambda text: text + b" ")
    code, document = verified(capsys, "--rebuild", "build_llm")
    (row,) = document["rebuilds"]
    assert (code, row["verdict"]) == (0, "equivalent")
    assert row["notes"] == [
        "limits and metadata were compared; the engines themselves were not run"
    ]
    _forge(engine, "config.json", lambda text: text.replace(b"2560", b"2561"))
    code, document = verified(capsys, "--rebuild", "build_llm")
    (row,) = document["rebuilds"]
    assert (code, row["verdict"]) == (1, "differs")
    assert row["detail"] == "config.json: build_config.max_num_tokens: 2561 and 2560"


def _forge(artifact, name: str, change) -> None:
    """Change a stored file and the manifest with it, as if it had been built so."""
    from mmtrt.artifacts.digest import digest_tree
    from mmtrt.artifacts.manifest import Manifest, tree_digest

    path = artifact.path / name
    content = change(path.read_bytes())
    path.unlink()  # other artifacts hold a link to it
    path.write_bytes(content)
    where = artifact.directory / "manifest.json"
    files = tuple(digest_tree(artifact.path)[e.path] for e in artifact.manifest.files)
    manifest = replace(Manifest.read(where), files=files, digest=tree_digest(files))
    where.unlink()
    manifest.write(where)
