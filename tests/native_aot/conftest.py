"""The tiny LLaVA's language model, compiled once for all tests of the packages."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

needed = ("torch", "transformers", "safetensors")
if any(find_spec(package) is None for package in needed) or shutil.which("g++") is None:
    # Every test here needs the native extra and a C++ compiler.
    collect_ignore_glob = ["test_*.py"]

ASSETS = Path(__file__).resolve().parents[2] / "recipes" / "assets" / "llava_tiny"
LIMITS = {
    "max_batch_size": 3,
    "max_input_len": 64,
    "max_seq_len": 96,
    "max_num_tokens": 180,
    "max_multimodal_len": 3 * 36,
}


@pytest.fixture(scope="session")
def llm_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mmtrt.native.convert import main

    directory = tmp_path_factory.mktemp("checkpoint")
    assert main(["--model-dir", str(ASSETS), "--output-dir", str(directory)]) == 0
    return directory / "llm"


@pytest.fixture(scope="session")
def packages(llm_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mmtrt.native.aot_build import build_aot_llm
    from mmtrt.native.limits import LlmLimits

    directory = tmp_path_factory.mktemp("aot")
    build_aot_llm(
        llm_checkpoint, directory, limits=LlmLimits(**LIMITS), device="cpu", dtype="float32"
    )
    return directory


@pytest.fixture(scope="session")
def session(packages: Path) -> Any:
    from mmtrt.native.aot_session import AotSession

    return AotSession(packages)


@pytest.fixture(scope="session")
def reference() -> Any:
    import torch
    from transformers import LlavaForConditionalGeneration

    return LlavaForConditionalGeneration.from_pretrained(ASSETS, dtype=torch.float32).eval()
