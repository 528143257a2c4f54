"""Qwen2.5-VL in the recipe of Qwen2-VL: which variant builds what; the graph's windows."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mmtrt.api import load_recipe, make_plan
from mmtrt.rules.check import find
from tests.worlds import HOST


@pytest.mark.parametrize(
    ("variant", "found", "whose", "fix"),
    [
        ("tiny", "qwen2_5_vl", "recipe qwen2_vl builds qwen2_vl", "variant=tiny_2_5"),
        ("tiny_2_5", "qwen2_vl", "variant tiny_2_5 builds qwen2_5_vl", "variant=2b"),
        ("tiny_2_5", "llava", "variant tiny_2_5 builds qwen2_5_vl", "mmtrt ls"),
        ("tiny_2_5", "qwen2_5_vl", None, None),
        ("tiny", "qwen2_vl", None, None),
    ],
)
def test_a_variant_states_its_own_model_type(
    variant: str, found: str, whose: str | None, fix: str | None, tmp_path: Path
) -> None:
    config = {"model_type": found, "vision_config": {"patch_size": 16}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").touch()
    recipe = load_recipe("qwen2_vl", [f"variant={variant}", f"model.path={tmp_path}"])
    findings = [each for each in find(make_plan(recipe, HOST)) if each.code == "MDL102"]
    assert [whose in each.message for each in findings] == ([True] if whose else [])
    assert all((each.fix or "").startswith(fix or "") for each in findings)
    # Facts come from the files of a model of the right type only.
    assert recipe.variant.facts.patch_size == (8 if whose else 16)


@pytest.mark.parametrize("grid", [(1, 4, 6), (3, 2, 2), (2, 10, 8), (1, 6, 18)])
def test_windows_are_squares_of_the_picture(grid: tuple[int, int, int]) -> None:
    """Told from where patches stand, not from transformers' lists."""
    from mmtrt.native.families.qwen2_5_vl import Qwen25VlFrontend

    steps, rows, columns = grid
    merge, patch_px, window_px = 2, 8, 32
    vision = SimpleNamespace(spatial_merge_size=merge, patch_size=patch_px, window_size=window_px)
    frontend = Qwen25VlFrontend(SimpleNamespace(vision_config=vision), Path(), SimpleNamespace())
    shown: list[dict[str, Any]] = [
        {
            "image_grid_thw": np.array([grid]),
            "pixel_values": np.zeros((steps * rows * columns, 1), np.float32),
        }
    ]
    pixels = frontend.pixels(shown)
    side = window_px // patch_px
    where = [
        (frame, row // side, column // side)
        for frame, (row, column) in zip(pixels["frames"], pixels["places"])
    ]
    together = np.array([[one == other for other in where] for one in where])
    windows = pixels["windows"]
    assert np.array_equal(windows[:, None] == windows[None], together)
