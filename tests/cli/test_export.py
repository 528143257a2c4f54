from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmtrt.cli import dispatch
from tests.demo_home import built_home, copy_store
from tests.worlds import ROOT

NEXT = "recipe=llava_next"


def test_a_script_goes_to_standard_output_and_findings_do_not(capsys):
    assert dispatch(["export", NEXT]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("#!/usr/bin/env bash\n")
    assert "trtllm-build" in out
    assert "warning[" not in out
    assert "warning[HST102]" in err


@pytest.mark.parametrize(("form", "start"), [("mermaid", "flowchart LR"), ("dot", "digraph")])
def test_pictures(capsys, form, start):
    assert dispatch(["export", NEXT, "--format", form]) == 0
    assert capsys.readouterr().out.startswith(start)


def test_a_file_is_written_and_can_be_executed(tmp_path, capsys):
    target = tmp_path / "build.sh"
    assert dispatch(["export", NEXT, "-o", str(target)]) == 0
    assert capsys.readouterr().out == ""
    assert os.access(target, os.X_OK)
    assert subprocess.run(["bash", "-n", str(target)], check=False).returncode == 0
    assert dispatch(["export", NEXT, "-o", str(tmp_path / "missing/build.sh")]) == 2


def test_a_plan_that_breaks_a_rule_is_refused(capsys):
    words = ["recipe=llava", "max_batch_size=2", "max_multimodal_len=576"]
    assert dispatch(["export", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "error[SIZ101]" in err


def test_an_unknown_format_is_refused(capsys):
    assert dispatch(["export", NEXT, "--format", "svg"]) == 2
    assert "--format sh|mermaid|dot" in capsys.readouterr().err


def test_a_path_that_is_no_text_reaches_the_script_as_its_bytes(tmp_path):
    """File names are bytes; a shell must get the same ones."""
    name = os.fsdecode(b"model-\xff")
    try:
        (tmp_path / name).mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    done = subprocess.run(
        [sys.executable, "-m", "mmtrt", "export", NEXT, f"model.path={name}"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=tmp_path, capture_output=True, timeout=60,
    )  # fmt: skip
    if done.returncode == 2:
        pytest.skip("composition refuses such a path")
    assert os.fsencode(tmp_path / name) in done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, dict[str, dict]]:
    """Run the tiny LLaVA with mmtrt; return its directory and plan."""
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    home = tmp_path_factory.mktemp("it's home")
    tiny = ["recipe=llava", "variant=tiny", 'run.prompt="it\'s \\"red\\"\n$HOME \\\\"']
    # The executor takes the engines from another store; the script builds its own.
    shared = built_home(tmp_path_factory)
    copy_store(shared, home, symlinks=True)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    for name in ("MMTRT_STORE", "MMTRT_RUNS", "OUT", "PYTHON"):
        env.pop(name, None)
    options = {"cwd": home, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    mmtrt = [sys.executable, "-m", "mmtrt"]
    exported = subprocess.run([*mmtrt, "export", *tiny, "-o", "build.sh"], env=env, **options)
    assert exported.returncode == 0, exported.stderr
    # At the same time: neither knows of the other.
    ours = subprocess.Popen([*mmtrt, *tiny, "--json"], env=env, **options)
    plain = env | {"OUT": "plain", "PYTHON": sys.executable}
    theirs = subprocess.run(["bash", "build.sh"], env=plain, timeout=300, **options)
    out, err = ours.communicate(timeout=300)
    assert theirs.returncode == 0, theirs.stderr
    assert ours.returncode == 0, err
    return home / "plain", {s["id"]: s for s in json.loads(out)["stages"]}


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def test_plain_bash_makes_the_same_bytes_as_the_executor(built):
    plain, stages = built
    for name, stage in stages.items():
        artifact = Path(stage["artifact"])
        made = contents(plain / name / artifact.name)
        kept = contents(artifact)
        assert made.keys() == kept.keys(), name
        if stage["kind"] != "run":
            assert made == kept, name
    made, kept = (
        json.loads((root / "result.json").read_text())
        for root in (plain / "run/llava_tiny", Path(stages["run"]["artifact"]))
    )
    assert made["requests"] == kept["requests"]
    assert 'it\'s "red"\n$HOME \\' in made["requests"][0]["prompt"]


def test_every_artifact_of_the_script_is_marked_done(built):
    plain, stages = built
    assert {path.parent.name for path in plain.glob("*/.done")} == set(stages)
    assert list(plain.glob("*/.work")) == []
