"""A current directory of its own for every test, and a user's directory of recipes."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

RECIPE = """\
# A recipe of a user.
name: mine
title: Mine
summary: A recipe for tests
readme_section: none
family: llava
hf_model_type: llava
trtllm_model_type: llava
convert_script: models/core/llama/convert_checkpoint.py
default_variant: small
quants: {none: {}}
sessions: [cpp]
backends: [native]
dtype: float16
stages:
  download: {kind: download}
variants:
  small:
    repo_id: me/small
    revision: "b234b80"
    facts:
      image_size: [48, 48]
      patch_size: 8
      hidden_size: 128
      vocab_size: 400
      num_hidden_layers: 4
      num_attention_heads: 4
      num_key_value_heads: 2
      max_position_embeddings: 256
"""

MakeUserDir = Callable[..., Path]


@pytest.fixture(autouse=True)
def own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the current directory and the environment of the machine out."""
    for name in ("MMTRT_STORE", "MMTRT_RUNS", "HYDRA_FULL_ERROR"):
        monkeypatch.delenv(name, raising=False)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)


@pytest.fixture
def user_dir() -> MakeUserDir:
    """Return a function that writes ``my/recipe/mine.yaml``, with replacements, and other files."""

    def make(*replacements: tuple[str, str], **files: str) -> Path:
        text = RECIPE
        for old, new in replacements:
            assert old in text, old
            text = text.replace(old, new)
        root = Path.cwd() / "my"
        for name, content in {"recipe/mine": text, **files}.items():
            path = root / f"{name}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(content), encoding="utf-8")
        return root

    return make
