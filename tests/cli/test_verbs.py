"""What every verb promises: help, JSON, closed pipes, and no more imports than it needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from mmtrt.cli import VERBS, dispatch
from tests.worlds import ROOT

READING = [
    *("ls", "show llava", "rule", "rule SIZ101", "doctor"),
    *("cache ls", "cache du", "cache verify", "cache gc --all"),
    *("export recipe=llava_next --format sh", "export recipe=llava_next --format mermaid"),
]
LIGHT = [
    *("--help", "ls", "show llava", "rule", "rule SIZ101", "doctor", "cp --help"),
    *("cache ls", "cache du", "cache verify", "cache gc", "log", "report"),
]
HEAVY = ("torch", "transformers", "onnxruntime", "hydra", "omegaconf", "rich", "numpy")


def python(code: str, *words: str, **options) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        env=env, capture_output=True, text=True, timeout=60, **options,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def empty_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("MMTRT_STORE", "MMTRT_RUNS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("switch", ["--help", "-h"])
def test_help_starts_with_the_verb_and_has_an_example(capsys, verb, switch):
    assert dispatch([verb, switch]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("mmtrt ")
    assert f"\n  mmtrt {verb} " in out or f"\n  mmtrt {verb}\n" in out or verb == "run"
    assert max(map(len, out.splitlines())) <= 100
    assert err == ""


@pytest.mark.parametrize("words", READING)
def test_json_is_one_document(capsys, words):
    assert dispatch([*words.split(), "--json"]) == 0
    assert isinstance(json.loads(capsys.readouterr().out), dict)


@pytest.mark.parametrize("words", READING)
def test_nothing_is_written_by_reading(tmp_path, capsys, words):
    dispatch(words.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", LIGHT)
def test_nothing_heavy_is_imported(words):
    code = (
        "import sys; from mmtrt.cli import dispatch; dispatch(sys.argv[1:]);"
        f"sys.stderr.write(repr([m for m in {HEAVY} if m in sys.modules]))"
    )
    done = python(code, *words.split())
    assert done.stderr.endswith("[]"), done.stderr


@pytest.mark.parametrize("words", ["ls", "rule", "ls --json", "export recipe=llava_next"])
def test_a_closed_pipe_is_no_error(words):
    command = f"'{sys.executable}' -m mmtrt {words} | head -n 1"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(
        ["bash", "-c", command], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_a_reader_that_is_gone_from_the_start_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "mmtrt", "ls"],
        env=env, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60,
    )  # fmt: skip
    os.close(writer)
    assert done.stderr == ""


def test_text_outside_of_ascii_survives_any_locale(tmp_path):
    folder = tmp_path / "größe"
    (folder / "recipe").mkdir(parents=True)
    (folder / "recipe/x.yaml").write_text("name: [")
    for words in (["ls", "-cd", str(folder)], ["ls", "-cd", str(folder), "--json"]):
        env = {**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C", "PYTHONIOENCODING": ""}
        done = subprocess.run(
            [sys.executable, "-m", "mmtrt", *words], env=env, capture_output=True, timeout=60
        )
        assert done.returncode == 0, done.stderr.decode()
