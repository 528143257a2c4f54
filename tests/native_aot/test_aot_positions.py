"""Positions in three axes through the graphs of packages, beside transformers.

The compiled ones are in the contract suite, ``tests/native/test_families.py``, and in
``test_video.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmtrt.native.aot_rotary import axial_rotary
from mmtrt.native.errors import NativeError
from mmtrt.native.positions import positions_of
from mmtrt.native.sampling import Sampling
from mmtrt.native.steps import plain_feed
from tests.native.eager import eager_engines
from tests.native.families import CASES, TEXTS
from tests.native.test_families import TOLERANCE, assert_equal
from tests.native.test_video import assert_answers
from tests.native.videos import SIZES, Videos, make_video
from tests.native_aot.eager import eager_packages

MODELS = ("qwen2_vl", "qwen2_5_vl")
WITHOUT_AXES = "llava_next"


def make(model: str, directory: Path) -> Videos:
    return Videos(CASES[model], directory, "aot_inductor")


@pytest.fixture(scope="module", params=MODELS)
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Videos]:
    with eager_engines(), eager_packages():
        yield make(request.param, tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize("batch", [1, 3])
def test_pictures_of_several_sizes(built: Videos, batch: int) -> None:
    assert_equal(built, TEXTS[:batch], [[path] for path in built.pictures[:batch]])


def test_two_pictures_in_one_request_and_none(built: Videos) -> None:
    assert_equal(built, TEXTS[:2], [built.pictures[:2], built.pictures[1:]])
    assert_equal(built, TEXTS[:2], [[], []])


def test_a_prompt_that_ends_with_a_picture(built: Videos) -> None:
    """Its axes end at different positions, and each goes on from its own."""
    texts = ["and this? <|image_pad|>", "now look at that one: <|image_pad|>"]
    assert_equal(built, texts, [[path] for path in built.pictures[:2]])


def test_a_picture_beside_a_mere_text(built: Videos) -> None:
    """Each request has a shift of its own, also 0; the second is longer than the first."""
    texts, pictures = TEXTS[:2], [built.pictures[:1], []]
    together = built.answer(texts, pictures).generation
    for row, pair in enumerate(zip(texts, pictures)):
        alone = built.answer(*([each] for each in pair)).generation
        assert together.token_ids[row] == alone.token_ids[0]
        for one, both in zip(alone.logits, together.logits):
            assert np.abs(one[0] - both[row]).max() < TOLERANCE


@pytest.mark.parametrize("batch", [1, 2])
def test_videos(built: Videos, batch: int, tmp_path: Path) -> None:
    clips = built.clips(tmp_path, batch, 5)
    answers = built.answered(TEXTS[:batch], clips, keep_logits=True)
    assert_answers(built, answers, clips)


def test_a_long_video_stands_beyond_any_place_of_the_cache(built: Videos, tmp_path: Path) -> None:
    """Minutes between two frames: Qwen2.5-VL counts seconds, Qwen2-VL steps."""
    from mmtrt.native.multimodal_session import Clip

    slow = make_video(tmp_path / "slow.png", 8, *SIZES[0], seconds=60)
    clips = [Clip(slow, 8), *built.clips(tmp_path, 2, 8)[1:]]
    answers = built.answered(TEXTS[:2], clips, keep_logits=True)
    assert_answers(built, answers, clips)
    prompt = built.session.frontend.video_prompt(TEXTS[0])
    prepared = built.session.prepare([prompt], [], clips[:1])
    engines = built.session.engines
    feed = built.session.frontend.start(prepared, None, engines).feed
    furthest = positions_of(feed, prepared.prompts).prompts.max()
    assert (furthest > engines.limits.max_seq_len) == (built.case.model == "qwen2_5_vl")


def test_sampled_tokens_follow_the_same_positions(built: Videos, tmp_path: Path) -> None:
    """The path through the host: a penalty, as transformers has it."""
    clips = built.clips(tmp_path, 2, 4)
    sampling = Sampling(repetition_penalty=3.0)
    answers = built.answered(TEXTS[:2], clips, sampling=sampling)
    tokens, _ = built.generated(TEXTS[:2], clips, repetition_penalty=3.0)
    assert [answer.token_ids for answer in answers.answers] == tokens


def test_padding_at_either_side_has_the_same_positions(built: Videos) -> None:
    from mmtrt.native.steps import Window, pad_left

    frontend = built.session.frontend
    prompts = built.session.prompts(TEXTS[:2], images=1)
    prepared = built.session.prepare(prompts, [[path] for path in built.pictures[:2]])
    feed = frontend.start(prepared, None, built.session.engines).feed
    right = positions_of(feed, prepared.prompts)
    longest = max(map(len, prepared.prompts))
    ids, shown = pad_left(prepared.prompts, longest)
    none_yet = np.zeros(2, dtype=np.int64)
    left = feed(Window(ids=ids, mask=shown, lengths=none_yet, start=0))["positions"]
    assert right is not None
    for row, prompt in enumerate(prepared.prompts):
        count = len(prompt)
        assert (right.prompts[:, row, :count] == left[:, row, longest - count :]).all()
        # A picture of R rows and C columns takes the positions of its longer side.
        assert (right.shifts[row] == left[:, row].max() + 1 - count).all()
    assert (right.shifts < 0).all()


def test_without_axes_graphs_take_what_they_took(tmp_path: Path) -> None:
    """No input more, tables of all places, and a family that feeds positions is refused."""
    with eager_engines(), eager_packages():
        built = make(WITHOUT_AXES, tmp_path)
        assert_equal(built, TEXTS[:2], [[path] for path in built.pictures[:2]])
        engines = built.session.engines
        assert [spec["name"] for spec in engines.llm.inputs] == ["ids", "lengths", "table"]
        assert engines._packages.config.position_axes == 0
        assert {"decoder.cos", "decoder.sin"} <= engines._packages._weights.keys()
        with pytest.raises(NativeError) as refused:
            engines.prefill([[5, 6]], feed=plain_feed)
    assert refused.value.code == "MDL208"


def test_rotations_are_those_of_transformers() -> None:
    from transformers import Qwen2VLTextConfig
    from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLRotaryEmbedding

    # The sections of the published models, and a second round of the axes.
    for sections in ([16, 24, 24], [8, 12, 12, 8, 12, 12]):
        rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": sections}
        config = Qwen2VLTextConfig(
            hidden_size=256, num_attention_heads=2, rope_parameters=rope, max_position_embeddings=64
        )
        theirs = Qwen2VLRotaryEmbedding(config)
        ours = axial_rotary(theirs, "cpu")
        assert ours is not None
        positions = torch.randint(0, 100_000, (3, 2, 7))
        for one, other in zip(ours(positions), theirs(torch.zeros(1), positions)):
            torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
    assert axial_rotary(SimpleNamespace(), "cpu") is None
