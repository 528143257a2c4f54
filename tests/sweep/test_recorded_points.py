"""One point of a recorded sweep, named as people name it, by every verb that takes a run."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from mmtrt.cli import dispatch
from mmtrt.errors import UsageError
from mmtrt.report.sweep_points import find_point
from mmtrt.report.targets import read_run

WORDS = ("recipe=llava", "backend=fake", "quant=none,int4_wo", "max_batch_size=1,2")
LABELS = [
    "0  quant=none max_batch_size=1",
    "1  quant=none max_batch_size=2",
    "2  quant=int4_wo max_batch_size=1",
    "3  quant=int4_wo max_batch_size=2",
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which a sweep has run to its end under a lock."""
    home = tmp_path_factory.mktemp("points")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert dispatch(["lock", "-m", *WORDS]) == 0
        assert dispatch(["-m", *WORDS, "-q", "--locked"]) == 0
    return home


@pytest.fixture
def run(home: Path, monkeypatch, capsys):
    monkeypatch.chdir(home)
    capsys.readouterr()

    def run(*words: str) -> tuple[int, str, str]:
        code = dispatch(words)
        return code, *capsys.readouterr()

    return run


def record(home: Path) -> Path:
    (found,) = (home / "outputs/runs").glob("*-sweep")
    return found


def test_a_point_is_told_as_a_run_of_its_own_is(home, run, tmp_path, monkeypatch):
    point = read_run(record(home), "quant=int4_wo max_batch_size=2")
    assert (point.point, point.title) == ("3", f"{record(home).name}:3")
    alone = ("recipe=llava", "backend=fake", "quant=int4_wo", "max_batch_size=2")
    assert run(*alone, "-q", f"paths.runs={tmp_path}")[0] == 0
    (by_itself,) = tmp_path.iterdir()
    other = read_run(by_itself)
    assert {stage: each.key for stage, each in point.artifacts.items() if stage != "run"} == {
        stage: each.key for stage, each in other.artifacts.items() if stage != "run"
    }
    for name in ("recipe", "variant", "backend", "toolchain", "features_per_request"):
        assert getattr(point.report, name) == getattr(other.report, name)
    assert point.report.results and point.report.results[0]["text"]
    values = {name: row["value"] for name, row in other.report.limits.items()}
    assert {name: row["value"] for name, row in point.report.limits.items()} == values
    _, out, _ = run("report", ":3", "--json")
    document = json.loads(out)
    ids = [stage["id"] for stage in document["stages"]]
    assert "build_llm" in ids and not any("." in name for name in ids)
    assert {need for row in point.report.stages for need in row.needs} <= set(ids)
    assert run("report", ":3", "--html")[0] == 2


def test_pack_of_a_point(home, run, tmp_path):
    code, _, err = run("pack")
    assert code == 1 and "error[ART134]" in err and "--point 0" in err
    assert all(label in err for label in LABELS)
    code, _, err = run("pack", "sweep", "--point", "quant=int4_wo max_batch_size=2")
    name = "llava-7b-fake-quant-int4_wo-max_batch_size-2"
    assert code == 0 and f"Wrote {name}.tar.gz" in err
    with tarfile.open(home / f"{name}.tar.gz") as tar:
        pack = json.load(tar.extractfile(f"{name}/pack.json"))  # type: ignore[arg-type] # a file
        lock = tar.extractfile(f"{name}/mmtrt.lock").read().decode()  # type: ignore[union-attr]
    (home / f"{name}.tar.gz").unlink()
    engine = read_run(record(home), "3").artifacts["assemble"]
    assert pack["engines"]["engine"] == engine.manifest.digest
    assert lock == (record(home) / "mmtrt.lock").read_text()


def test_verify_provenance_and_diff_of_points(home, run):
    code, _, err = run("verify", "sweep", "--point", "1")
    count = len(read_run(record(home), "1").artifacts)
    assert code == 0 and f"{count} artifacts verified" in err
    code, out, _ = run("diff", ":0", ":max_batch_size=2 quant=none", "--json", "--exit-code")
    document = json.loads(out)
    assert code == 1
    assert [row["field"] for row in document["settings"]][-1] == "override.max_batch_size"
    outputs = {row["stage"]: row["output"] for row in document["stages"]}
    assert (outputs["convert"], outputs["build_llm"]) == ("same", "differs")
    assert run("diff", ":1", ":1", "--exit-code")[0] == 0
    pytest.importorskip("in_toto_attestation", reason="extra provenance")
    code, out, _ = run("provenance", "sweep:2")
    asked = json.loads(out)["predicate"]["buildDefinition"]["externalParameters"]
    assert code == 0
    assert {"quant=int4_wo", "max_batch_size=1"} < set(asked["overrides"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("verify", "--point", "7"), f"has no point '7'\n  why: there are\n    {LABELS[0]}"),
        (
            ("verify", "sweep:quant=none"),
            f"2 points of {{name}} are 'quant=none'\n  why: there are"
            f"\n    {LABELS[0]}\n    {LABELS[1]}\n",
        ),
        (("verify", "sweep:"), "has no point ''"),
        (("verify", "nothing:0"), "no run is called 'nothing'"),
        (("diff", ":0", ":x=1"), "has no point 'x=1'"),
    ],
)
def test_points_that_there_are_not(home, run, words, told):
    code, _, err = run(*words)
    assert code == 2 and "error[CFG003]" in err
    assert told.format(name=record(home).name) in err


def test_runs_without_points_and_points_that_could_not_run(home, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("recipe=llava", "backend=fake", "until=download", "-q")
    assert run(*words)[0] == 0
    code, _, err = run("verify", "llava:0")
    assert code == 2 and "is no sweep" in err
    assert run("-m", *words, "quant=none,fp8", "--skip-invalid")[0] == 0
    code, _, err = run("verify", ":1")
    assert code == 2 and "was left out" in err and "QNT101" in err


def test_a_record_of_an_older_version(home, run, tmp_path):
    """Without the words of a point they are those that its choices stand for."""
    old = tmp_path / record(home).name
    old.mkdir()
    plan = json.loads((record(home) / "plan.json").read_text())
    for point in plan["points"]:
        for name in ("words", "toolchain", "visual_features_per_request"):
            del point[name]
    (old / "plan.json").write_text(json.dumps(plan))
    (old / "events.jsonl").write_bytes((record(home) / "events.jsonl").read_bytes())
    point = read_run(old, "2")
    assert set(point.report.overrides) == {
        *("recipe=llava", "backend=fake", "quant=int4_wo", "max_batch_size=1")
    }
    assert point.artifacts
    (old / "plan.json").write_text("{")
    with pytest.raises(UsageError, match="is no sweep"):
        find_point(old, "0")
