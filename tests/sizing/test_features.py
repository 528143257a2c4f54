"""Calculators: known pictures, worst cases by brute force, what the two flavours disagree on."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from mmtrt.sizing.features import (
    CALCULATORS,
    MissingFact,
    UnknownFamily,
    VisionShape,
    audio_features,
    image_cost,
)
from mmtrt.sizing.features.cost import View
from tests.calls import calls_of
from tests.sizing.shapes import SHAPES

VARIABLE = ["fuyu", "internvl2", "llava_next", "llava_onevision", "phi3_vision", "phi4_multimodal"]
"""Families for which a picture's size decides what it costs the runner."""


def cost(family, size, **how):
    return image_cost(family, SHAPES[family], size, **how)


@pytest.mark.parametrize(
    ("width", "height", "processor", "runner", "tiles"),
    [
        (336, 336, 1176, 1176, 3),
        (504, 504, 2928, 2928, 5),
        (640, 480, 2340, 2352, 5),
        (480, 640, 2352, 2340, 5),
        (1000, 300, 2182, 2232, 4),
        (1920, 1080, 1948, 1968, 5),
    ],
)
def test_llava_next_counts_as_its_processor_and_as_the_runner(
    width, height, processor, runner, tiles
):
    for flavour, features in (("hf", processor), ("trtllm", runner)):
        found = cost("llava_next", (height, width), flavour=flavour)
        assert (found.features, found.tiles) == (features, tiles)


@pytest.mark.parametrize(
    ("width", "height", "features", "tiles"),
    [
        (640, 480, 2929, 5),
        (1024, 683, 5157, 7),
        (1920, 1080, 7269, 16),
        (2304, 2304, 7371, 37),
        (947, 1154, 8765, 13),
    ],
)
def test_llava_onevision_shrinks_large_grids(width, height, features, tiles):
    found = cost("llava_onevision", (height, width))
    assert (found.features, found.tiles) == (features, tiles)


@pytest.mark.parametrize(("frames", "features"), [(1, 197), (8, 1569), (32, 6273)])
def test_llava_onevision_pools_frames(frames, features):
    found = cost("llava_onevision", None, frames=frames)
    assert (found.features, found.tiles, found.unit) == (features, frames, "frame")


def test_llava_onevision_takes_the_dearer_of_picture_and_video():
    found = cost("llava_onevision", (480, 640), frames=8)
    assert (found.features, found.tiles) == (2929, 8)


def test_llava_onevision_does_not_cut_one_of_several():
    found = cost("llava_onevision", (1080, 1920), images=3)
    assert (found.features, found.tiles) == (730, 1)


@pytest.mark.parametrize(
    ("family", "features", "tiles"),
    [
        ("fuyu", 2304, 1),
        ("internvl2", 3328, 13),
        ("llava_next", 2928, 5),
        ("llava_onevision", 8765, 37),
        ("phi3_vision", 2653, 17),
        ("phi4_multimodal", 10065, 37),
    ],
)
def test_worst_picture(family, features, tiles):
    found = cost(family, None)
    assert (found.features, found.tiles) == (features, tiles)


@pytest.mark.parametrize("flavour", ["trtllm", "hf"])
@pytest.mark.parametrize("family", VARIABLE)
def test_no_picture_costs_more_than_the_worst(family, flavour):
    draw = random.Random(7)
    worst = cost(family, None, flavour=flavour)
    calculate, shape = CALCULATORS[family], SHAPES[family]
    for n in range(4000):
        if n % 2:
            size = draw.randint(1, 2600), draw.randint(1, 2600)
        else:
            size = int(2 ** draw.uniform(0, 13)), int(2 ** draw.uniform(0, 13))
        if family == "phi3_vision" and max(size) > 300 * min(size):
            continue  # refused: one side would vanish
        found = calculate(shape, View(size, flavour=flavour))
        assert found.features <= worst.features, size
        assert found.tiles <= worst.tiles, size
        assert found.features + found.marks <= worst.features + worst.marks, size


@pytest.mark.parametrize(
    ("family", "size"),
    [
        ("fuyu", (1080, 1920)),
        ("internvl2", (1344, 1792)),
        ("llava_next", (672, 672)),
        ("llava_onevision", (1154, 947)),
        ("phi3_vision", (5376, 336)),
        ("phi4_multimodal", (16128, 448)),
    ],
)
def test_worst_picture_exists(family, size):
    assert cost(family, size).features == cost(family, None).features


def test_worst_llava_next_of_other_resolutions():
    points = tuple((336 * h, 336 * w) for h in range(1, 5) for w in range(1, 5) if h * w < 7)
    shape = replace(SHAPES["llava_next"], pinpoints=points)
    worst = image_cost("llava_next", shape, None)
    draw = random.Random(3)
    for _ in range(3000):
        size = draw.randint(20, 1500), draw.randint(20, 1500)
        assert CALCULATORS["llava_next"](shape, View(size)).features <= worst.features


def test_the_runner_lays_llava_next_grids_on_their_side():
    tall = (200, 100)
    assert cost("llava_next", tall, flavour="hf").features == 576 + 24 * (12 + 1)
    assert cost("llava_next", tall).features == 576 + 12 * (24 + 1)


def test_the_runner_resizes_qwen2_vl_pictures():
    for size in (None, (1080, 1920)):
        found = cost("qwen2_vl", size)
        assert (found.features, found.tiles, found.unit) == (324, 1296, "patch row")
    assert cost("qwen2_vl", (1080, 1920), flavour="hf").features == 39 * 69


def test_fuyu_ends_rows_in_the_prompt_not_in_the_table():
    found = cost("fuyu", (300, 601))
    assert (found.features, found.marks) == (10 * 21, 10)


@pytest.mark.parametrize(
    ("size", "tiles"),
    [((448, 448), 1), ((448, 896), 3), ((500, 500), 1), ((900, 900), 5), ((100, 5000), 13)],
)
def test_internvl2_tiles(size, tiles):
    assert cost("internvl2", size).features == tiles * 256


@pytest.mark.parametrize(
    ("size", "features"), [((336, 336), 2509), ((1344, 1344), 2509), ((300, 3000), 1609)]
)
def test_phi3_crops(size, features):
    assert cost("phi3_vision", size).features == features


def test_phi4_leaves_padding_out():
    assert cost("phi4_multimodal", (448, 448)).features == 16 * 17 + 1 + 272
    assert cost("phi4_multimodal", (100, 448)).features == 4 * 17 + 1 + 272


@pytest.mark.parametrize(("side", "rows"), [(448, 4100), (560, 6404)])
def test_mllama_attends_to_four_tiles(side, rows):
    shape = replace(SHAPES["mllama"], image_size=(side, side))
    found = image_cost("mllama", shape, None)
    assert (found.features, found.tiles, found.encoder_tokens) == (0, 1, rows)


def test_video_neva_takes_the_frames_that_are_asked():
    assert cost("video_neva", None).features == 3072
    assert cost("video_neva", None, frames=8).features == 2048


def test_sides_of_a_picture_that_is_no_square_are_told_apart():
    wide = replace(SHAPES["llava"], image_size=(336, 448))
    assert image_cost("llava", wide, None).features == (336 // 14) * (448 // 14)


@pytest.mark.parametrize(("seconds", "rows"), [(None, 0), (0.08, 1), (1, 13), (10, 125)])
def test_sound(seconds, rows):
    assert audio_features("phi4_multimodal", seconds) == rows
    assert audio_features("llava", seconds) == 0


@pytest.mark.parametrize("family", CALCULATORS)
def test_a_missing_fact_is_named(family):
    with pytest.raises(MissingFact, match=rf"sizes of family {family} need facts\.\w+"):
        image_cost(family, VisionShape(), None)


def test_unknown_family_is_named():
    with pytest.raises(UnknownFamily):
        image_cost("clip", SHAPES["llava"], None)


@pytest.mark.parametrize("family", CALCULATORS)
def test_worst_cases_are_found_without_trying_every_size(family):
    calculate, shape = CALCULATORS[family], SHAPES[family]
    counts = calls_of(lambda: calculate(shape, View()))
    assert counts.total() < 10_000  # measured: 3,600 for llava_onevision, 190 at most for others
