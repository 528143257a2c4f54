"""The field ``made`` of manifests: what it tells, and that no key depends on it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmtrt.artifacts.keys import key_of
from mmtrt.artifacts.manifest import Manifest
from mmtrt.artifacts.store import Store
from tests.report.records import CHAIN, record
from tests.worlds import world


def built(root: Path) -> dict[str, Manifest]:
    record(root, world(root / "store", *CHAIN))
    return {a.manifest.stage: a.manifest for a in Store(root / "store").artifacts()}


def test_inputs_are_named_with_the_digests_that_the_key_has(tmp_path):
    manifests = built(tmp_path)
    (row,) = manifests["build_llm"].made["inputs"]
    assert row == {
        "symbol": "{in.download}",
        "digest": manifests["build_llm"].key_document["inputs"]["{in.download}"],
        "stage": "download",
        "kind": "shell",
        "key": manifests["download"].key,
    }
    assert row["digest"] == manifests["download"].digest


def test_times_versions_and_recipe_are_told(tmp_path):
    made = built(tmp_path)["download"].made
    assert made["started"] < made["finished"] and made["finished"].endswith("+00:00")
    assert (made["recipe"], made["variant"], made["attempt"]) == ("llava", "tiny", 1)
    assert made["versions"]["torch"] == "1.0", "the host's, as the plan saw it"
    assert made["resources"]["network"] is False


def test_keys_do_not_depend_on_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    one = built(tmp_path / "one")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("SOME_API_KEY", "planted-api-key")
    two = built(tmp_path / "two")
    assert {name: m.key for name, m in one.items()} == {name: m.key for name, m in two.items()}
    assert one["download"].made["environment"]["OMP_NUM_THREADS"] == "1"
    assert two["download"].made["environment"]["OMP_NUM_THREADS"] == "2"
    assert "SOME_API_KEY" not in str(two["download"].made)
    for manifest in one.values():
        assert key_of(manifest.key_document) == manifest.key


def test_variables_that_are_handed_on_are_told_by_name(monkeypatch):
    from types import SimpleNamespace

    from mmtrt.backends.base import Command
    from mmtrt.executor.facts import _environment

    work = SimpleNamespace(command=Command(argv=(), pass_env=("HF_TOKEN", "NCCL_SECRET")))
    env = {"HF_TOKEN": "x", "NCCL_SECRET": "y", "NCCL_DEBUG": "INFO", "HOME": "/root", "TZ": "UTC"}
    assert _environment(work, env) == {"NCCL_DEBUG": "INFO", "TZ": "UTC"}


def test_manifests_of_older_versions_are_read(tmp_path):
    manifest = built(tmp_path)["download"]
    document = json.loads(manifest.to_json())
    assert Manifest.from_json(manifest.to_json()) == manifest
    del document["made"]
    old = Manifest.from_json(json.dumps(document))
    assert old.made == {} and old.files == manifest.files
    document["made"] = "nonsense"
    assert Manifest.from_json(json.dumps(document)).made == {}


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug", "535.104.05"),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release",
            "570.86.15",
        ),
        ("something else", None),
    ],
)
def test_the_driver_is_read_from_the_kernel(tmp_path, monkeypatch, text, version):
    from mmtrt.executor import facts

    (tmp_path / "version").write_text(text)
    monkeypatch.setattr(facts, "_DRIVER", tmp_path / "version")
    assert facts._driver() == version
    monkeypatch.setattr(facts, "_DRIVER", tmp_path / "missing")
    assert facts._driver() is None
