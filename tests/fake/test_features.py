"""What the stand-ins say a picture costs: documented numbers, and those of ``mmtrt.sizing``.

The two are worked out apart, so each finds the other's errors.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtrt.fake import features
from mmtrt.sizing.features import image_cost
from tests.worlds import recipe

SAID = [
    # family, (height, width), rows or encoder tokens, source
    ("blip2", (480, 640), 32),  # README, --max_multimodal_len 256 of 8 requests
    ("deplot", (480, 640), 2048),  # README, --max_encoder_input_len
    ("fuyu", (480, 640), 352),  # 16 x 22 patches of 30
    ("internlm_xcomposer2", (480, 640), 1225),  # README, text
    ("kosmos2", (480, 640), 64),  # README, --max_multimodal_len
    ("llava", (480, 640), 576),  # README, --max_multimodal_len
    ("llava_next", (672, 672), 2928),  # README, --max_multimodal_len
    ("llava_onevision", (1080, 1920), 7269),
    ("mllama", (480, 640), 4100),  # README, --max_encoder_input_len
    ("neva", (480, 640), 729),  # README, --max_multimodal_len
    ("nougat", (480, 640), 588),  # README, --max_encoder_input_len
    ("phi3_vision", (480, 640), 1921),  # the processor's num_img_tokens
    ("phi4_multimodal", (480, 640), 1065),
    ("qwen2_vl", (480, 640), 324),  # README, --max_multimodal_len 1296 of 4 requests
    ("vila", (480, 640), 196),  # README, --max_multimodal_len
]


def facts_of(family: str) -> dict[str, Any]:
    paths = {"model__path": "/m.nemo"} if family == "neva" else {}
    facts = dataclasses.asdict(recipe(family, backend="trtllm", **paths).variant.facts)
    return {name: value for name, value in facts.items() if value is not None}


FACTS = {family: facts_of(family) for family, _, _ in SAID}


@pytest.mark.parametrize(("family", "size", "said"), SAID)
def test_documented_numbers(family: str, size: tuple[int, int], said: int) -> None:
    cost = features.request(family, FACTS[family], [size])
    assert cost.rows + cost.encoder_tokens == said


def test_two_frames_of_a_video_and_a_sound() -> None:
    assert features.request("llava_onevision", FACTS["llava_onevision"], [], 8).rows == 1569
    video = features.request("video_neva", {"image_size": [224, 224], "patch_size": 14}, [], 12)
    assert video.rows == 3072  # README, --max_multimodal_len
    heard = features.request("phi4_multimodal", FACTS["phi4_multimodal"], [], None, 15.0)
    assert heard.rows == 188


SIDES = st.integers(30, 2400)


@pytest.mark.parametrize("family", ["fuyu", "llava_next", "llava_onevision", "phi3_vision"])
@given(height=SIDES, width=SIDES)
@settings(max_examples=150)
def test_two_ways_to_one_number(family: str, height: int, width: int) -> None:
    from mmtrt.config.recipe import _vision_shape

    shape = _vision_shape(recipe(family, backend="trtllm").variant.facts)
    ours = image_cost(family, shape, (height, width), flavour="trtllm")
    played = features.request(family, FACTS[family], [(height, width)])
    assert (played.rows, played.items) == (ours.features, ours.tiles)
