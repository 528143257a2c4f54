"""Limits from workloads: who wins, and what depends on what."""

from __future__ import annotations

import pytest

from mmtrt.errors import RecipeError
from mmtrt.sizing.features import image_cost
from mmtrt.sizing.limits import LIMIT_NAMES
from mmtrt.sizing.solve import Demand, Sizing, solve
from tests.sizing.shapes import SHAPES
from tests.worlds import recipe

ONEVISION = {
    "max_batch_size": 1,
    "max_input_len": 7228,
    "max_seq_len": 7328,
    "max_multimodal_len": 7128,
    "vision.max_batch_size": 32,
}
NEXT = {"max_batch_size": 1, "max_input_len": 4096, "max_seq_len": 5120, "max_num_tokens": 4096}


def sized(family, stated=None, override=None, *, usual=None, asked=(), **how) -> Sizing:
    """Size a request; names in ``asked`` are the user's, the other numbers the recipe's."""
    numbers = {
        "batch_size": None,
        "images_per_request": 1,
        "image_size": None,
        "video_frames": None,
        "text_tokens": None,
        "max_new_tokens": 30,
    }
    numbers |= {name: how.pop(name) for name in list(how) if name in numbers}
    demand = Demand(**numbers, asked=frozenset(asked))
    image = image_cost(
        family,
        SHAPES[family],
        demand.image_size,
        images=demand.images_per_request,
        frames=demand.video_frames,
    )
    return solve(demand, image, stated or {}, override or {}, usual=usual, **how)


def values(sizing, *names):
    return tuple(sizing.limits.value(name) for name in names)


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
    assert tuple(limits) == LIMIT_NAMES


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


def test_other_pictures_leave_the_room_for_text_and_answer_as_it_was():
    limits = recipe("llava", workload__images_per_request=2).sizing.limits
    assert limits.value("max_input_len") == 2 * 576 + (2048 - 576)
    assert limits.value("max_seq_len") == 2 * 576 + (2560 - 576)
    assert limits["max_input_len"].because == "1152 visual features + 1472 text tokens"


def test_an_asked_size_changes_nothing_where_every_picture_costs_the_same():
    plain, asked = recipe("llava"), recipe("llava", workload__image_size=[1080, 1920])
    for name, limit in plain.sizing.limits.items():
        assert asked.sizing.limits.value(name) == limit.value


@pytest.mark.parametrize("how", [{"override": {"max_batch_size": 8}}, {"asked": ["batch_size"]}])
def test_a_larger_batch_keeps_what_the_recipe_grants_each_request(how):
    if "asked" in how:
        how["batch_size"] = 8
    sizing = sized("llava_onevision", ONEVISION, video_frames=32, **how)
    assert values(sizing, "max_multimodal_len", "vision.max_batch_size") == (8 * 7128, 8 * 32)
    assert sizing.limits["max_multimodal_len"].because == (
        "max_batch_size 8 x 7128 rows that the recipe grants a request"
    )


def test_asked_pictures_replace_what_the_recipe_states():
    sizing = sized(
        "llava_onevision", ONEVISION, image_size=(1080, 1920), asked=["image_size"], usual=6273
    )
    assert values(sizing, "max_input_len", "max_multimodal_len", "vision.max_batch_size") == (
        7269 + 955,
        7269,
        16,
    )


def test_asked_frames_replace_what_the_recipe_states():
    sizing = sized("llava_onevision", ONEVISION, video_frames=8, asked=["video_frames"], usual=6273)
    assert values(sizing, "max_input_len", "max_seq_len", "max_multimodal_len") == (
        1569 + 955,
        1569 + 955 + 100,
        1569,
    )
    assert (
        sizing.limits["vision.max_batch_size"].because == "max_batch_size 1 x 8 frames per request"
    )


def test_rows_as_many_as_the_prompt_follow_it():
    sizing = sized("llava_next", NEXT, {"max_input_len": 5000}, prompt_table="prompt")
    assert values(sizing, "max_multimodal_len", "max_num_tokens", "max_seq_len") == (
        5000,
        5000,
        6024,
    )
    wider = sized("llava_next", NEXT, {"max_batch_size": 3}, prompt_table="prompt")
    assert values(wider, "max_multimodal_len", "vision.max_batch_size") == (3 * 4096, 15)


def test_a_prompt_that_outgrows_max_num_tokens_moves_it():
    sizing = sized(
        "llava_next", NEXT, images_per_request=2, asked=["images_per_request"], usual=2928
    )
    assert values(sizing, "max_input_len", "max_num_tokens") == (2 * 2928 + 1168, 2 * 2928 + 1168)
    fixed = sized(
        "llava_next",
        NEXT,
        {"max_num_tokens": 512},
        images_per_request=2,
        asked=["images_per_request"],
    )
    assert values(fixed, "max_num_tokens") == (512,)


def test_sound_takes_rows_too():
    sizing = sized("phi4_multimodal", image_size=(448, 448), audio=125)
    assert sizing.features_per_request == 545 + 125
    assert values(sizing, "max_multimodal_len", "max_input_len") == (670, 670 + 64)


def test_row_ends_take_room_in_the_prompt_only():
    sizing = sized("fuyu", image_size=(300, 600))
    assert values(sizing, "max_multimodal_len", "max_input_len") == (200, 200 + 10 + 64)
    assert sizing.limits["max_input_len"].because == (
        "200 visual features + 10 row ends + 64 text tokens"
    )


def test_each_picture_of_a_request_has_its_row_ends():
    # A picture of 300 x 600 has 10 rows of 20 patches and 10 newlines: 210 tokens.
    sizing = sized(
        "fuyu", image_size=(300, 600), images_per_request=3, asked=["images_per_request"]
    )
    assert sizing.visual_prompt_tokens == 3 * 210
    assert values(sizing, "max_multimodal_len", "max_input_len") == (3 * 200, 3 * 210 + 64)


def test_what_a_recipe_grants_its_batch_is_shared_by_its_requests():
    stated = {"max_batch_size": 8, "max_multimodal_len": 8 * 1000, "vision.max_batch_size": 16}
    sizing = sized("llava", stated, batch_size=4, asked=["batch_size"])
    assert values(sizing, "max_multimodal_len", "vision.max_batch_size") == (4 * 1000, 8)


def test_the_encoder_of_a_language_model_gives_its_decoder_what_to_attend_to():
    stated = {"max_batch_size": 8, "max_input_len": 924, "max_seq_len": 1024}
    sizing = sized("blip2", stated, {"max_input_len": 500}, architecture="encoder_decoder")
    assert values(sizing, "max_encoder_input_len", "max_seq_len") == (500, 1024)
    longer = sized(
        "blip2",
        stated,
        max_new_tokens=2000,
        asked=["max_new_tokens"],
        architecture="encoder_decoder",
    )
    assert values(longer, "max_seq_len") == (2001,)


def test_several_pictures_are_attended_to_together():
    sizing = sized(
        "mllama", images_per_request=3, asked=["images_per_request"], visual_input="cross_attention"
    )
    assert values(sizing, "max_encoder_input_len", "max_multimodal_len") == (3 * 4100, None)
    assert sizing.encoder_tokens_per_request == 3 * 4100


def test_text_that_is_asked_bounds_a_prompt_without_pictures():
    asked = sized("mllama", text_tokens=300, asked=["text_tokens"], visual_input="cross_attention")
    assert values(asked, "max_input_len", "max_seq_len") == (300, 330)
    silent = sized("mllama", {"max_seq_len": 2048}, visual_input="cross_attention")
    assert values(silent, "max_input_len", "max_seq_len") == (None, 2048)
    assert silent.limits["max_input_len"].because == "not stated: the tool's own default"


def test_the_pytorch_workflow_needs_only_what_is_said():
    silent = sized("gemma3", {"max_batch_size": 4}, workflow="pytorch")
    assert [silent.limits.value(name) for name in LIMIT_NAMES] == [4] + [None] * 6
    asked = sized("gemma3", text_tokens=100, asked=["text_tokens"], workflow="pytorch")
    assert values(asked, "max_input_len", "max_seq_len", "max_multimodal_len") == (356, 386, None)


@pytest.mark.parametrize(
    ("family", "batch", "slots"),
    [("internvl2", 1, 2), ("internvl2", 12, 13), ("qwen2_vl", 4, 1), ("qwen2_vl", 5, 2)],
)
def test_vision_batches_that_admit_several_tiles(family, batch, slots):
    sizing = sized(family, {"max_batch_size": batch})
    assert values(sizing, "vision.max_batch_size") == (slots,)
    assert sizing.vision_batch(batch) == slots


def test_a_user_who_asks_for_pictures_gets_no_video_of_the_recipe():
    plain = recipe("llava_onevision", recipe__workload__video_frames=32).sizing
    assert (plain.features_per_request, plain.demand.video_frames) == (6273, 32)
    asked = recipe(
        "llava_onevision", recipe__workload__video_frames=32, workload__image_size=[480, 640]
    ).sizing
    assert (asked.features_per_request, asked.demand.video_frames) == (2929, None)


def test_a_fact_that_the_family_needs_is_named():
    with pytest.raises(RecipeError) as raised:
        recipe("llava_next", recipe__variants__mistral_7b__facts__image_grid_pinpoints=None)
    assert raised.value.code == "CFG113"
    assert "facts.image_grid_pinpoints" in str(raised.value)


def test_asked_frames_stand_in_for_an_unknown_model():
    sizing = recipe(
        "video_neva",
        recipe__variants__base__facts__num_frames=None,
        workload__video_frames=8,
    ).sizing
    assert sizing.features_per_request == 8 * 256
