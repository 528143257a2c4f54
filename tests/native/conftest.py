"""One tiny model, its checkpoint and its engines for all tests of the native toolchain."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.native import tiny_llava

if any(find_spec(package) is None for package in ("torch", "transformers", "onnxruntime")):
    # Every test here needs the native extra.
    collect_ignore_glob = ["test_*.py"]

ROOT = Path(__file__).resolve().parents[2]
LIMITS = {
    "max-batch-size": 3,
    "max-input-len": 64,
    "max-seq-len": 80,
    "max-num-tokens": 160,
    "max-multimodal-len": 3 * tiny_llava.ROWS,
}


def start_stage(
    stage: str, *flags: object, cwd: Path | None = None, **env: str
) -> subprocess.Popen[str]:
    """Start ``python -m mmtrt.native.<stage>`` and return the process."""
    argv = [sys.executable, "-m", f"mmtrt.native.{stage}", *map(str, flags)]
    return subprocess.Popen(
        argv,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for a stage that must succeed and return its progress lines."""
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert out == ""
    return err


def limit_flags(limits: dict[str, int]) -> list[object]:
    """Return the flags of ``build_llm``."""
    return [part for name, value in limits.items() for part in (f"--{name}", value)]


def build_engines(checkpoint: Path, output: Path, **where: Any) -> list[str]:
    """Build both engines at the same time, each in its process, and return their progress."""
    builds = [
        start_stage(
            f"build_{name}",
            *("--checkpoint-dir", checkpoint / name, "--output-dir", output / name),
            *(limit_flags(LIMITS) if name == "llm" else ("--max-batch-size", 3)),
            **where,
        )
        for name in ("llm", "vision")
    ]
    return [finish(build) for build in builds]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("model")
    tiny_llava.make_model(directory)
    return directory


@pytest.fixture(scope="session")
def checkpoint(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mmtrt.native.convert import main

    directory = tmp_path_factory.mktemp("checkpoint")
    assert main(["--model-dir", str(tiny_model), "--output-dir", str(directory)]) == 0
    return directory


@pytest.fixture(scope="session")
def engines(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("engines")
    build_engines(checkpoint, directory)
    return directory


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    sizes = ((40, 31), (24, 24), (30, 90))
    return [
        tiny_llava.make_image(tmp_path / f"{seed}.png", seed=seed, size=size)
        for seed, size in enumerate(sizes)
    ]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a stage in this process; it must refuse with status 2, and not with a traceback."""

    def run(main: Callable[[Sequence[str]], int], *flags: object) -> str:
        assert main([str(flag) for flag in flags]) == 2
        return capsys.readouterr().err

    return run
