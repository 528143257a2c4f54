"""Every limit in TensorRT-LLM's multimodal README that follows from others, derived.

``stated`` is what a recipe writes down of its section; what the README writes beside it is derived
and must come out equal.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from mmtrt.sizing.features import VisionShape, image_cost
from mmtrt.sizing.solve import Demand, Sizing, solve
from tests.sizing.shapes import SHAPES

ENCODER_DECODER = {"architecture": "encoder_decoder"}
CROSS = {"visual_input": "cross_attention"}
SECTIONS = {
    "blip2-opt": (
        "blip2",
        {"max_batch_size": 8, "max_input_len": 924, "max_seq_len": 1024},
        {"max_multimodal_len": 256, "max_encoder_input_len": None, "vision.max_batch_size": 8},
        {},
    ),
    "blip2-t5": (
        "blip2",
        {"max_batch_size": 8, "max_input_len": 924, "max_seq_len": 1024},
        {"max_multimodal_len": 256, "max_encoder_input_len": 924, "vision.max_batch_size": 8},
        ENCODER_DECODER,
    ),
    "cogvlm": (
        "cogvlm",
        {"max_batch_size": 48, "max_input_len": 2048, "max_seq_len": 3076},
        {"max_multimodal_len": 61440, "vision.max_batch_size": 48},
        {},
    ),
    "deplot": (
        "deplot",
        {"max_batch_size": 8, "max_seq_len": 2558},
        {
            "max_input_len": 1,
            "max_multimodal_len": None,
            "max_encoder_input_len": 2048,
            "vision.max_batch_size": 8,
        },
        CROSS | ENCODER_DECODER,
    ),
    "fuyu": (
        "fuyu",
        {"max_batch_size": 1, "max_input_len": 2048, "max_seq_len": 2560},
        {"max_multimodal_len": 2048},
        {"prompt_table": "prompt", "image_size": (900, 1600)},
    ),
    "gemma3": (
        "gemma3",
        {"max_batch_size": 4},
        {
            "max_input_len": None,
            "max_seq_len": None,
            "max_multimodal_len": None,
            "vision.max_batch_size": None,
        },
        {"workflow": "pytorch"},
    ),
    "internlm_xcomposer2": (
        "internlm_xcomposer2",
        {"max_batch_size": 48, "max_input_len": 1536},
        {"max_multimodal_len": 58800, "max_seq_len": 1736, "vision.max_batch_size": 48},
        {"max_new_tokens": 200},
    ),
    "internvl2": (
        "internvl2",
        {"max_batch_size": 1, "max_input_len": 4096, "max_seq_len": 4608},
        {"max_multimodal_len": 3328, "vision.max_batch_size": 2},
        {},
    ),
    "kosmos2": (
        "kosmos2",
        {"max_batch_size": 1, "max_input_len": 512, "max_seq_len": 1024},
        {"max_multimodal_len": 64},
        {},
    ),
    "llava": (
        "llava",
        {"max_batch_size": 1, "max_input_len": 2048, "max_seq_len": 2560},
        {"max_multimodal_len": 576},
        {},
    ),
    "llava_next": (
        "llava_next",
        {
            "max_batch_size": 1,
            "max_input_len": 4096,
            "max_seq_len": 5120,
            "max_num_tokens": 4096,
        },
        {"max_multimodal_len": 4096, "vision.max_batch_size": 5},
        {"prompt_table": "prompt"},
    ),
    "llava_onevision": (
        "llava_onevision",
        {
            "max_batch_size": 1,
            "max_input_len": 7228,
            "max_seq_len": 7328,
            "max_multimodal_len": 7128,
        },
        {"vision.max_batch_size": 32},
        {"video_frames": 32},
    ),
    "vila": (
        "vila",
        {"max_batch_size": 1, "max_input_len": 2048, "max_seq_len": 2560},
        {"max_multimodal_len": 196},
        {},
    ),
    "mllama": (
        "mllama",
        {"max_batch_size": 4, "max_seq_len": 2048, "max_num_tokens": 4096},
        {
            "max_input_len": None,
            "max_multimodal_len": None,
            "max_encoder_input_len": 4100,
            "vision.max_batch_size": 4,
        },
        CROSS,
    ),
    "mllama-instruct": (
        "mllama",
        {"max_batch_size": 4, "max_seq_len": 2048, "max_num_tokens": 4096},
        {"max_input_len": None, "max_multimodal_len": None, "max_encoder_input_len": 6404},
        CROSS | {"shape": replace(SHAPES["mllama"], image_size=(560, 560))},
    ),
    "neva": (
        "neva",
        {"max_batch_size": 1, "max_input_len": 2048, "max_seq_len": 2560},
        {"max_multimodal_len": 729},
        {},
    ),
    "nougat": (
        "nougat",
        {"max_batch_size": 1},
        {
            "max_input_len": 1,
            "max_seq_len": 101,
            "max_multimodal_len": None,
            "max_encoder_input_len": 588,
        },
        CROSS | ENCODER_DECODER | {"max_new_tokens": 100},
    ),
    "phi3_vision": (
        "phi3_vision",
        {"max_batch_size": 1, "max_input_len": 4096, "max_seq_len": 4608},
        {"max_multimodal_len": 4096},
        {"prompt_table": "prompt"},
    ),
    "phi4_multimodal": (
        "phi4_multimodal",
        {"max_batch_size": 1, "max_input_len": 4096, "max_seq_len": 4608},
        {"max_multimodal_len": 4096},
        {"prompt_table": "prompt", "image_size": (1080, 1920)},
    ),
    "qwen2_vl": (
        "qwen2_vl",
        {"max_batch_size": 4, "max_input_len": 2048, "max_seq_len": 3072},
        {"max_multimodal_len": 1296, "vision.max_batch_size": 1},
        {},
    ),
    "video_neva": (
        "video_neva",
        {"max_batch_size": 1, "max_input_len": 4096, "max_seq_len": 4352},
        {"max_multimodal_len": 3072, "vision.max_batch_size": 1},
        {},
    ),
}


def sized(family, stated, how) -> Sizing:
    how = dict(how)
    shape: VisionShape = how.pop("shape", SHAPES[family])
    demand = Demand(
        batch_size=None,
        images_per_request=1,
        text_tokens=None,
        max_new_tokens=how.pop("max_new_tokens", 30),
        image_size=how.pop("image_size", None),
        video_frames=how.pop("video_frames", None),
    )
    image = image_cost(family, shape, demand.image_size, frames=demand.video_frames)
    return solve(demand, image, stated, {}, **how)


@pytest.mark.parametrize("section", SECTIONS)
def test_section(section):
    family, stated, readme, how = SECTIONS[section]
    limits = sized(family, stated, how).limits
    assert {name: limits.value(name) for name in readme} == readme
    for name, value in stated.items():
        assert (limits.value(name), limits[name].source) == (value, "recipe")


@pytest.mark.parametrize("section", SECTIONS)
def test_a_request_of_the_section_fits(section):
    family, stated, _, how = SECTIONS[section]
    sizing = sized(family, stated, how)
    limits = sizing.limits
    batch = limits.required("max_batch_size")
    if limits.value("max_multimodal_len") is not None:
        assert limits.required("max_multimodal_len") // batch >= sizing.features_per_request
    if limits.value("max_input_len") is not None:
        assert limits.required("max_input_len") > sizing.visual_prompt_tokens
    if limits.value("vision.max_batch_size") is not None:
        assert limits.required("vision.max_batch_size") >= sizing.vision_batch(batch)


def test_every_family_has_a_section():
    from mmtrt.sizing.features import CALCULATORS

    assert {family for family, *_ in SECTIONS.values()} == set(CALCULATORS) == set(SHAPES)
    assert len(CALCULATORS) == 19
