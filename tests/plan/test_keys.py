"""What a key holds and what it does not, field by field of a command and of its inputs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mmtrt.artifacts.store import Store
from mmtrt.backends.base import Out, Unkeyed
from mmtrt.plan.assess import assess
from mmtrt.plan.build import make_plan
from tests.worlds import HOST, ShellBackend, recipe, world


def key(root, **fields):
    """Return the key of a stage whose command has these fields."""
    plan = world(root, ("a", "true")).plan()
    (node,) = plan.nodes
    changed = replace(node, command=replace(node.command, **fields))
    return assess(replace(plan, nodes=(changed,)), Store(root))["a"].key


@pytest.mark.parametrize(
    ("fields", "is_another"),
    [
        ({"argv": ("sh", "-c", "false")}, True),
        ({"env": {"OMP_NUM_THREADS": "1"}}, True),
        ({"cwd": Out()}, True),
        ({"pass_env": ("HF_HOME",)}, False),
        ({"outputs": {"engine": "model.engine"}}, False),
    ],
)
def test_what_of_a_command_makes_another_key(tmp_path, fields, is_another):
    assert (key(tmp_path, **fields) != key(tmp_path)) is is_another


def test_each_value_of_a_variable_is_another_key(tmp_path):
    keys = {key(tmp_path, env={"OMP_NUM_THREADS": number}) for number in ("1", "2")}
    assert len(keys) == 2


def test_words_for_this_machine_alone_enter_no_key(tmp_path):
    keys = {key(tmp_path, argv=("sh", Unkeyed("--workers"), Unkeyed(n))) for n in ("1", "2")}
    assert len(keys) == 1


def test_another_version_of_a_tool_is_another_key(tmp_path, monkeypatch):
    before = key(tmp_path)
    monkeypatch.setattr(ShellBackend, "versions", {"torch": "2.14"})
    assert key(tmp_path) != before


def test_files_that_a_download_leaves_out_enter_no_key(tmp_path):
    model = tmp_path / "model"
    (model / "original").mkdir(parents=True)
    (model / "config.json").write_text('{"model_type": "llava"}')
    (tmp_path / "a.png").write_bytes(b"png")

    def download():
        chosen = recipe(variant="tiny", model__path=str(model), run__image=str(tmp_path / "a.png"))
        spec = replace(chosen.stages["download"], exclude=["original/*"])
        chosen = replace(chosen, stages={**chosen.stages, "download": spec})
        return assess(make_plan(chosen, HOST), Store(tmp_path / "store"))["download"].key

    first = download()
    (model / "original/params.json").write_text("{}")
    assert download() == first
    (model / "generation_config.json").write_text("{}")
    assert download() != first
