"""A stage runs in an environment of its own, with another version of a package than the host."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.test_new_family import OTTER

SCRIPT = """\
import argparse, json, pathlib, sys
import herring, yaml
parser = argparse.ArgumentParser()
for flag in ("--model_dir", "--output_dir", "--dtype"):
    parser.add_argument(flag)
args = parser.parse_args()
told = {"herring": herring.VERSION, "prefix": sys.prefix, "yaml": bool(yaml)}
pathlib.Path(args.output_dir, "config.json").write_text(json.dumps({"herring": herring.VERSION}))
pathlib.Path(args.output_dir, "told.json").write_text(json.dumps(told))
"""


def wheel(directory: Path, version: str) -> None:
    """Write a wheel of one module, as PyPA's binary distribution format has it."""
    info = f"herring-{version}.dist-info"
    files = {
        "herring.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: herring\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }

    def digest(text: str) -> str:
        raw = hashlib.sha256(text.encode()).digest()
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    record = [f"{name},sha256={digest(text)},{len(text)}" for name, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,"]) + "\n"
    with zipfile.ZipFile(directory / f"herring-{version}-py3-none-any.whl", "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)


def host(box: Path) -> None:
    """Make the interpreter that mmtrt runs on: this one's packages, herring 1.0, TensorRT-LLM."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "host"], cwd=box, check=True)
    (packages,) = (box / "host/lib").glob("python*/site-packages")
    own = sysconfig.get_path("purelib")
    (packages / "below.pth").write_text(f"import site; site.addsitedir({own!r})\n")
    with zipfile.ZipFile(box / "wheels/herring-1.0-py3-none-any.whl") as archive:
        archive.extractall(packages)
    (packages / "tensorrt_llm-1.2.1.dist-info").mkdir()


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """Return a directory with wheels, a host that has version 1, a script and a recipe."""
    for name in ("wheels", "zoo/recipe", "examples/models/core/llama", "otter-llava"):
        (tmp_path / name).mkdir(parents=True)
    for version in ("1.0", "2.0"):
        wheel(tmp_path / "wheels", version)
    host(tmp_path)
    (tmp_path / "examples/models/core/llama/convert_checkpoint.py").write_text(SCRIPT)
    (tmp_path / "otter-llava/config.json").write_text('{"model_type": "llava"}')
    # A safetensors file without tensors.
    empty = (2).to_bytes(8, "little") + b"{}"
    (tmp_path / "otter-llava/model.safetensors").write_bytes(empty)
    recipe = OTTER.replace(
        "  convert: {kind: convert, needs: {model: download}}\n",
        "  env: {kind: env, requirements: ['herring==2.0']}\n"
        "  convert: {kind: convert, needs: {model: download, env: env}}\n",
    )
    (tmp_path / "zoo/recipe/otter.yaml").write_text(recipe)
    return tmp_path


def convert(box: Path, *words: str) -> dict[str, str]:
    """Run the plan up to the conversion and return status by stage."""
    command = ["host/bin/python", "-m", "mmtrt", "recipe=otter", "-cd", "zoo", "backend=trtllm"]
    command += ["until=convert", "trtllm.examples_dir=examples", "model.path=otter-llava"]
    ended = subprocess.run(
        [*command, *words, "--json"],
        cwd=box,
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(box / "wheels"),
        },
    )
    assert ended.returncode == 0, ended.stderr
    return {row["id"]: row["status"] for row in json.loads(ended.stdout)["stages"]}


def told(box: Path) -> dict[str, object]:
    (found,) = box.glob("outputs/store/convert/*/*/told.json")
    document: dict[str, object] = json.loads(found.read_text())
    return document


def test_pin_of_a_recipe_wins_over_the_host(box: Path) -> None:
    code = ["host/bin/python", "-c", "import herring; print(herring.VERSION)"]
    assert subprocess.run(code, cwd=box, capture_output=True, text=True).stdout == "1.0\n"
    assert convert(box) == {"env": "done", "download": "done", "convert": "done"}
    (lock,) = box.glob("outputs/store/env/*/*/requirements.lock")
    assert lock.read_text().startswith("herring==2.0")
    assert told(box)["herring"] == "2.0"
    assert told(box)["yaml"] is True  # the host's packages are still there
    assert str(box / "outputs/store/env") in str(told(box)["prefix"])
    assert convert(box) == {"env": "hit", "download": "hit", "convert": "hit"}
    verified = subprocess.run(
        [sys.executable, "-m", "mmtrt", "cache", "verify"], cwd=box, capture_output=True, text=True
    )
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_environment_that_resolves_alike_does_not_rebuild(box: Path) -> None:
    convert(box)
    recipe = box / "zoo/recipe/otter.yaml"
    recipe.write_text(recipe.read_text().replace("herring==2.0", "herring>=2.0,<3"))
    assert convert(box) == {"env": "done", "download": "hit", "convert": "hit"}
