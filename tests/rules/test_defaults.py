"""What the rules say of every recipe, variant and number format as it comes: hints alone."""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from mmtrt.config.compose import Composer
from mmtrt.config.recipe import resolve
from mmtrt.plan.build import make_plan
from mmtrt.rules.check import find
from mmtrt.rules.host import disk_short
from tests.rules.test_mutations import PLENTY, ROOMY
from tests.worlds import ROOT

COMPOSER = Composer()

PATHS = sorted((ROOT / "recipes/recipe").glob("*.yaml"))
OWN = {
    "neva": ["model.path=model.nemo"],
    "video_neva": ["model.path=model.nemo", "model.projector=model.nemo", "run.video=x.mp4"],
}
"""Recipes of files that nobody publishes -> what must be said."""

HINTS = {
    "ENV103": {"internvl2", "qwen2_vl"},  # tools that fetch by themselves
    "MDL101": {"deplot", "nougat base"},  # no commit is pinned
    "SEC101": {"internlm_xcomposer2", "neva", "video_neva"},  # published as pickles only
    "SEC102": {"vila"},  # code of a branch
    "SIZ105": {"cogvlm", "llava_next 34b"},  # the README's limits
}
"""Code -> recipes, or ``recipe variant``, for which it is a warning or a hint.

Of a recipe the checkpoints for TensorRT-LLM are meant: mmtrt's own small ones have none.
"""

LARGE = replace(ROOMY, gpus=tuple(replace(gpu, memory_bytes=1 << 40) for gpu in ROOMY.gpus))


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Make the files that nobody publishes."""
    monkeypatch.chdir(tmp_path)
    for name in ("model.nemo", "x.mp4"):
        (tmp_path / name).write_bytes(b"x")


def plans(path: Path):
    """Yield every variant with its plan for each number format that its backend has."""
    file = yaml.safe_load(path.read_text())
    for variant, (quant, options) in itertools.product(file["variants"], file["quants"].items()):
        if variant not in (options.get("variants") or [variant]):
            continue
        words = [f"recipe={path.stem}", f"variant={variant}", f"quant={quant}"]
        words += OWN.get(path.stem, [])
        composed = COMPOSER.compose(words)
        plan = make_plan(resolve(composed.settings, tuple(words), composed.where), LARGE)
        backend = plan.choice.backend
        if quant in backend.formats and backend.name in (options.get("backends") or [backend.name]):
            yield variant, plan


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_defaults_have_no_error_and_the_known_hints(path, files, monkeypatch):
    monkeypatch.setattr(disk_short, "free_bytes", lambda plan: PLENTY)
    published, said = set(), defaultdict(set)
    for variant, plan in plans(path):
        if plan.choice.backend.name == "trtllm":
            published.add(variant)
        for finding in find(plan):
            assert finding.severity != "error", finding.render()
            said[finding.code].add(variant)
    wanted = {
        code: {v for v in published if path.stem in names or f"{path.stem} {v}" in names}
        for code, names in HINTS.items()
    }
    assert said == {code: variants for code, variants in wanted.items() if variants}


def test_every_recipe_is_looked_at():
    assert len(PATHS) == 19
