"""A family that mmtrt has never heard of is one YAML file of the user's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

OTTER = """\
# Otter: made up for a test.
name: otter
title: Otter
summary: a tower of 100 queries and a Llama
readme_section: none
family: otter
hf_model_type: llava
trtllm_model_type: llava
convert_script: models/core/llama/convert_checkpoint.py
default_variant: small
quants:
  none: {}
  int8_wo: {}
sessions: [cpp_llm_only]
backends: [trtllm]
dtype: float16
limits: {max_batch_size: 3, max_input_len: 512, max_seq_len: 640}
run:
  prompt: What is it?
stages:
  download: {kind: download, include: ["*.json", "*.safetensors"]}
  convert: {kind: convert, needs: {model: download}}
  build_vision: {kind: build_vision, needs: {model: download}}
  build_llm:
    kind: build_llm
    needs: {checkpoint: convert}
    flags: {gemm_plugin: "{dtype}"}
  assemble: {kind: assemble, needs: {llm: build_llm, vision: build_vision}}
  run: {kind: run, needs: {engine: assemble, model: download}}
variants:
  small:
    repo_id: zoo/otter-llava-small
    revision: "0123456789abcdef0123456789abcdef01234567"
    facts:
      image_tokens: 100
      hidden_size: 256
      vocab_size: 1000
      num_hidden_layers: 2
      num_attention_heads: 4
      num_key_value_heads: 2
      max_position_embeddings: 2048
"""


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """Return a directory of the user's with one file in it."""
    place = tmp_path / "zoo/recipe"
    place.mkdir(parents=True)
    (place / "otter.yaml").write_text(OTTER)
    return tmp_path


def mmtrt(zoo: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mmtrt", *words, "-cd", "zoo"]
    return subprocess.run(command, cwd=zoo, capture_output=True, text=True, check=False)


def test_it_is_listed_sized_and_checked(zoo: Path) -> None:
    listed = json.loads(mmtrt(zoo, "ls", "--json").stdout)
    assert "otter" in [row["name"] for row in listed["recipes"]]
    sized = json.loads(mmtrt(zoo, "size", "recipe=otter", "--json").stdout)
    rows = sized["limits"]["max_multimodal_len"]
    assert (rows["value"], rows["source"]) == (300, "derived")
    checked = mmtrt(zoo, "check", "recipe=otter", "max_multimodal_len=299")
    assert checked.returncode == 2 and "SIZ101" in checked.stdout + checked.stderr


@pytest.mark.parametrize("quant", ["none", "int8_wo"])
@pytest.mark.parametrize("tp", ["1", "2"])
def test_it_runs(zoo: Path, quant: str, tp: str) -> None:
    words = ("recipe=otter", "backend=fake", f"quant={quant}", f"tp={tp}", "--json")
    first = mmtrt(zoo, *words)
    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout)["result"]["requests"][0]["text"]
    again = json.loads(mmtrt(zoo, *words).stdout)
    assert {row["status"] for row in again["stages"]} == {"hit"}


def test_its_flags_are_held_against_the_tables(zoo: Path) -> None:
    file = zoo / "zoo/recipe/otter.yaml"
    file.write_text(OTTER.replace("gemm_plugin:", "gem_plugin:"))
    checked = mmtrt(zoo, "check", "recipe=otter", "backend=trtllm")
    told = checked.stdout + checked.stderr
    assert checked.returncode == 2
    assert "trtllm-build has no flag --gem_plugin; the nearest is --gemm_plugin" in told
    assert "zoo/recipe/otter.yaml" in told
