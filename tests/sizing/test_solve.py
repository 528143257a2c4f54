"""Limits from workloads: the README's numbers, who wins, and what depends on what."""

from __future__ import annotations

import pytest

from mmtrt.sizing.features import UnknownFamily, VisionShape, image_cost
from tests.worlds import recipe

PINPOINTS = ((336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008))
NEXT = VisionShape((336, 336), 14, PINPOINTS)


@pytest.mark.parametrize(
    ("width", "height", "features", "tiles"),
    [
        (336, 336, 1176, 3),
        (504, 504, 2928, 5),
        (640, 480, 2340, 5),
        (1000, 300, 2182, 4),
        (1920, 1080, 1948, 5),
    ],
)
def test_llava_next_counts_what_its_processor_makes(width, height, features, tiles):
    cost = image_cost("llava_next", NEXT, (height, width))
    assert (cost.features, cost.tiles) == (features, tiles)


def test_llava_next_worst_picture_is_the_worst_of_all():
    worst = image_cost("llava_next", NEXT, None)
    assert (worst.features, worst.tiles) == (2928, 5)
    sizes = [(h, w) for h in range(50, 2000, 97) for w in range(50, 2000, 89)]
    assert max(image_cost("llava_next", NEXT, size).features for size in sizes) <= worst.features


def test_llava_counts_patches_whatever_the_picture():
    shape = VisionShape((336, 336), 14)
    assert image_cost("llava", shape, None).features == 576
    assert image_cost("llava", shape, (1080, 1920)).features == 576


def test_unknown_family_is_named():
    with pytest.raises(UnknownFamily):
        image_cost("clip", NEXT, None)


def test_llava_defaults_are_the_readmes():
    limits = recipe("llava").sizing.limits
    assert {name: limit.value for name, limit in limits.items()} == {
        "max_batch_size": 1,
        "max_input_len": 2048,
        "max_seq_len": 2560,
        "max_num_tokens": None,
        "max_multimodal_len": 576,
        "max_encoder_input_len": None,
        "vision.max_batch_size": 1,
    }


def test_llava_next_defaults_are_the_readmes():
    limits = recipe("llava_next").sizing.limits
    assert [limit.value for limit in limits.values()] == [1, 4096, 5120, 4096, 4096, None, 5]


def test_workload_batch_decides_table_and_vision_batch():
    limits = recipe("llava", workload__batch_size=8).sizing.limits
    assert limits.value("max_batch_size") == 8
    assert limits.value("max_multimodal_len") == 8 * 576
    assert limits.value("vision.max_batch_size") == 8
    assert limits["max_multimodal_len"].because == (
        "max_batch_size 8 x 576 visual features per request"
    )


def test_what_the_user_sets_wins_and_is_not_changed():
    limits = recipe("llava", max_multimodal_len=7, workload__batch_size=8).sizing.limits
    assert (limits.value("max_multimodal_len"), limits["max_multimodal_len"].source) == (
        7,
        "override",
    )


def test_longer_prompts_and_answers_move_the_sequence_limit():
    limits = recipe("llava", workload__text_tokens=3000, workload__max_new_tokens=200).sizing.limits
    assert limits.value("max_input_len") == 576 + 3000
    assert limits.value("max_seq_len") == 576 + 3000 + 200


def test_more_images_a_request_need_more_rows():
    sizing = recipe("llava_next", workload__images_per_request=2).sizing
    assert sizing.features_per_request == 2 * 2928
    assert sizing.limits.value("vision.max_batch_size") == 10
