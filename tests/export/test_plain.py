"""The forms that a script without mmtrt has for the stages that mmtrt does itself."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from mmtrt.backends.base import Choice, Command
from mmtrt.backends.trtllm import Trtllm
from mmtrt.export import to_sh
from mmtrt.plan.graph import Node, Plan
from mmtrt.stages import Assemble, Clone, Download, Edit, Env, Patch, Serve, Stage, Write
from tests.golden_text import check
from tests.waiting import LIMIT_S
from tests.worlds import HOST, recipe

GOLDEN = Path(__file__).parent / "golden"

ODD = 'it\'s "odd" $HOME `id` \\\nEND\n\tgrößer\n\nEND_2\n'


def by_hand() -> Plan:
    """Return a plan with one of every stage that has a plain form; no recipe changes it."""
    chosen = dataclasses.replace(recipe("cogvlm", backend="trtllm"), overrides=("recipe=cogvlm",))
    backend = Trtllm(chosen, dataclasses.replace(HOST, trtllm_examples="/app/examples"))
    common = {"model_name": "a model's name"}
    edits = (
        Edit("visual.py", "import xformers.ops as xops\n", "", "00" * 32),
        Edit("odd name.py", ODD, f"{ODD}more"),
    )
    stages: list[Stage] = [
        Download(id="all", repo_id="an/owner's", revision="main", **common),
        Download(
            id="some",
            repo_id="owner/name",
            revision="a b",
            include=("*.json",),
            exclude=("original/*",),
            **common,
        ),
        Download(id="file", local_file="/my/model $1.nemo", allow_pickle=True, **common),
        Download(id="folder", local_dir="/my/it's", **common),
        Clone(id="code", url="https://example.org/x y.git", revision="v1", **common),
        Clone(id="part", url="file:///x", revision="v1", include=("a b", "c"), **common),
        Env(id="env", requirements=("{examples}/x.txt", "transformers==4.45.2"), **common),
        Write(id="options", files=(("a b/odd.txt", ODD), ("empty", "")), **common),
        Patch(id="patch", edits=edits, needs={"model": "some/sub dir"}, **common),
        Assemble(id="assemble", needs={"llm/encoder": "patch", "it's": "options"}, **common),
        Serve(
            id="serve",
            family="gemma3",
            max_batch_size=4,
            max_new_tokens=8,
            prompts=("it's", "-n"),
            images=("https://example.org/x y.png",),
            hold=True,
            needs={"model": "patch", "env": "env"},
            **common,
        ),
    ]
    nodes = []
    for stage in stages:
        command = backend.lower(stage)
        assert isinstance(command, Command)
        parts = {port: source.partition("/") for port, source in stage.needs.items()}
        command = command.below({port: below for port, (_, _, below) in parts.items()})
        feeds = {port: name for port, (name, _, _) in parts.items()}
        nodes.append(Node(stage, command, None, feeds))
    return Plan(chosen, Choice(backend, "tests", HOST), tuple(nodes))


def only(made: Plan, *names: str) -> Plan:
    return dataclasses.replace(made, nodes=tuple(n for n in made.nodes if n.id in names))


def test_plain_forms_are_as_recorded():
    check(GOLDEN / "plain.sh", to_sh(by_hand()))


def test_the_recorded_plain_forms_can_be_parsed():
    done = subprocess.run(["bash", "-n"], input=to_sh(by_hand()), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def bash(made: Plan, out: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "OUT": str(out), **variables}
    return subprocess.run(
        ["bash", "-c", to_sh(made)], env=env, capture_output=True, text=True, timeout=LIMIT_S
    )


def test_a_written_file_has_exactly_its_text(tmp_path):
    done = bash(only(by_hand(), "options"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "options/a model's name/a b/odd.txt").read_text() == ODD
    assert (tmp_path / "options/a model's name/empty").read_text() == ""


@pytest.mark.parametrize("text", [f"before\n{ODD}after", ODD * 2, "nothing"])
def test_any_text_can_be_patched_and_must_be_there_once(tmp_path, text):
    made = by_hand()
    stage = dataclasses.replace(made["patch"].stage, edits=(Edit("odd name.py", ODD, f"{ODD}x"),))
    made = dataclasses.replace(
        made,
        nodes=tuple(
            dataclasses.replace(node, stage=stage) if node.id == "patch" else node
            for node in only(made, "some", "patch").nodes
        ),
    )
    source = tmp_path / "some/a model's name/sub dir/odd name.py"
    source.parent.mkdir(parents=True)
    source.write_text(text)
    (tmp_path / "some/.done").touch()
    done = bash(made, tmp_path, PYTHON=sys.executable)
    if text.count(ODD) == 1:
        assert done.returncode == 0, done.stderr
        patched = tmp_path / "patch/a model's name/odd name.py"
        assert patched.read_text() == text.replace(ODD, f"{ODD}x")
    else:
        assert done.returncode == 1
        assert "odd name.py must have this text exactly once" in done.stderr
    assert source.read_text() == text


def test_a_digest_that_differs_refuses_the_patch(tmp_path):
    source = tmp_path / "some/a model's name/sub dir/visual.py"
    source.parent.mkdir(parents=True)
    source.write_text("import xformers.ops as xops\n")
    (tmp_path / "some/.done").touch()
    done = bash(only(by_hand(), "some", "patch"), tmp_path, PYTHON=sys.executable)
    assert done.returncode == 1
    assert "visual.py is another file than the edit is for: its before_sha256" in done.stderr


def test_a_download_that_leaves_out_several_patterns_asks_the_library(tmp_path):
    """No form of ``hf`` takes several patterns in every release."""
    library = tmp_path / "library/huggingface_hub.py"
    library.parent.mkdir()
    library.write_text(
        "import json, pathlib\n"
        "def snapshot_download(repo, **words):\n"
        "    directory = pathlib.Path(words['local_dir'])\n"
        "    directory.mkdir(parents=True)\n"
        "    (directory / 'asked.json').write_text(json.dumps([repo, words]))\n"
    )
    done = bash(only(by_hand(), "all"), tmp_path / "out", PYTHONPATH=str(library.parent))
    assert done.returncode == 0, done.stderr
    (asked,) = tmp_path.glob("out/all/*/asked.json")
    repo, words = json.loads(asked.read_text())
    assert (repo, words["revision"]) == ("an/owner's", "main")
    assert "allow_patterns" not in words
    assert "*.bin" in words["ignore_patterns"]
