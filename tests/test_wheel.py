"""The wheel, not the checkout: installed into an empty environment it finds its recipes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.worlds import ROOT


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """Return the bin directory of an environment that has the wheel and the core's needs only."""
    root = tmp_path_factory.mktemp("wheel")
    venv.create(root / "venv", with_pip=True)
    bin_dir = root / "venv" / "bin"
    subprocess.run(
        [bin_dir / "python", "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", ROOT],
        check=True,
        cwd=root,
    )
    return bin_dir


def mmtrt(bin_dir: Path, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        [bin_dir / "mmtrt", *words], capture_output=True, text=True, cwd=cwd, env=env
    )


def test_core_works_without_torch(installed, tmp_path):
    probe = "import importlib.util as u, mmtrt.api; print(u.find_spec('torch'))"
    done = subprocess.run([installed / "python", "-c", probe], capture_output=True, text=True)
    assert done.stdout.strip() == "None", done.stderr
    rows = json.loads(mmtrt(installed, "ls", "--json", cwd=tmp_path).stdout)["recipes"]
    assert {row["name"] for row in rows} == {
        p.stem for p in (ROOT / "recipes/recipe").glob("*.yaml")
    }
    plan = mmtrt(installed, "plan", "recipe=llava", "variant=tiny", "--json", cwd=tmp_path)
    assert plan.returncode == 0, plan.stderr
    assert json.loads(plan.stdout)["stages"][0]["id"] == "download"
    assert str(ROOT) not in plan.stdout


def test_run_without_the_native_extra_says_what_to_install(installed, tmp_path):
    done = mmtrt(installed, "recipe=llava", "variant=tiny", cwd=tmp_path)
    assert done.returncode == 5
    assert "pip install 'mmtrt[native]'" in done.stderr
    assert not (tmp_path / "outputs/store").exists()


def test_assets_and_recipes_are_in_the_wheel(installed, tmp_path):
    done = mmtrt(installed, "plan", "recipe=llava", "variant=tiny", "--json", cwd=tmp_path)
    argv = json.loads(done.stdout)["stages"][0]["argv"]
    model = Path(argv[argv.index("--local-dir") + 1])
    assert (model / "model.safetensors").stat().st_size > 1_000_000
    assert "site-packages" in str(model)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="one interpreter is enough")
def test_sdist_builds_the_same_wheel_content(tmp_path):
    pytest.importorskip("build")
    subprocess.run(
        [sys.executable, "-m", "build", "-o", tmp_path, ROOT], check=True, capture_output=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    listing = subprocess.run(
        [sys.executable, "-m", "zipfile", "-l", wheel], capture_output=True, text=True
    ).stdout
    for name in (
        "mmtrt/_recipes/config.yaml",
        "mmtrt/_recipes/recipe/llava.yaml",
        "mmtrt/py.typed",
    ):
        assert name in listing
