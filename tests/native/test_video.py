"""Videos: their frames as transformers prepares them, and answers as transformers gives them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mmtrt.api import load_recipe, make_plan
from mmtrt.backends.base import symbol
from mmtrt.errors import PlanError
from mmtrt.rules.check import find
from tests.native import record_videos
from tests.native.eager import eager_engines
from tests.native.families import CASES, TEXTS
from tests.native.test_families import REAL, TOLERANCE, assert_equal
from tests.native.videos import SIZES, Videos, make_video, moving
from tests.worlds import HOST

FAMILIES = tuple(record_videos.PROCESSORS)
SLOW = pytest.mark.slow
ONE_LEVEL = 1.05 / 255 / 0.26
"""Of 256, normalised: processors round resampled pixels in their own ways."""


@pytest.mark.parametrize("model", FAMILIES)
def test_frames_are_those_of_transformers(model: str, tmp_path: Path) -> None:
    """Ids, pixels, grids and seconds against what its processors gave with torchvision."""
    from mmtrt.native.families import family_of
    from mmtrt.native.hf_model import read_config
    from mmtrt.native.make_tiny import make_tiny
    from mmtrt.native.video_file import Video

    make_tiny(model, tmp_path, 0)
    family: Any = family_of(read_config(tmp_path)["model_type"])
    frontend = family.frontend(tmp_path, SimpleNamespace(), None)
    recorded = np.load(record_videos.FILE)
    for number, shape in enumerate(record_videos.SHAPES):
        video = Video(frames=moving(*shape), fps=record_videos.FPS)
        ours = frontend.show(record_videos.prompt_of(model), *frontend.frames(video))
        begin = f"{model}/{number}/"
        names = {name.removeprefix(begin) for name in recorded if name.startswith(begin)}
        assert names == ours.keys() - {"attention_mask"}
        for name in names:
            theirs = recorded[begin + name]
            assert ours[name].shape == theirs.shape
            off = np.abs(ours[name] - theirs)
            assert off.max() <= (ONE_LEVEL if name.startswith("pixel") else 1e-6)
            assert (off < 1e-6).mean() > 0.95


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((name, engine), marks=() if engine == "eager" else SLOW)
        for name in FAMILIES
        for engine in ("eager", *REAL)
    ],
    ids="-".join,
)
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Videos]:
    name, engine = request.param
    with eager_engines() if engine == "eager" else nullcontext():
        yield Videos(CASES[name], tmp_path_factory.mktemp(name), engine)


@pytest.mark.parametrize("frames", [1, 3, 4, 8])
@pytest.mark.parametrize("batch", [1, 2])
def test_answers_equal_transformers(built: Videos, batch: int, frames: int, tmp_path: Path) -> None:
    """Videos of different sizes and prompts of different lengths; an odd count of frames too."""
    clips = built.clips(tmp_path, batch, frames)
    answers = built.answered(TEXTS[:batch], clips, keep_logits=True)
    assert_answers(built, answers, clips)
    for row, answer in enumerate(answers.answers):
        assert answer.video == f"{row}.png" and answer.images == ()


def assert_answers(built: Videos, answers: Any, clips: Sequence[Any]) -> None:
    tokens, logits = built.generated(TEXTS[: len(clips)], clips)
    ours = np.stack(answers.generation.logits)
    for row, answer in enumerate(answers.answers):
        assert answer.token_ids == tokens[row]
        assert np.abs(ours[: len(tokens[row]), row] - logits[row]).max() < TOLERANCE


def test_a_slow_video_is_answered_as_by_generate(built: Videos, tmp_path: Path) -> None:
    """Where positions count seconds, its last frame stands beyond the text that follows."""
    from mmtrt.native.multimodal_session import Clip

    slow = make_video(tmp_path / "slow.png", 8, *SIZES[0], seconds=60)
    clips = [Clip(slow, 8), *built.clips(tmp_path, 2, 8)[1:]]
    assert_answers(built, built.answered(TEXTS[:2], clips, keep_logits=True), clips)


def test_pictures_are_answered_by_the_same_engines(built: Videos) -> None:
    """One and two of them in a request, of different sizes; and none."""
    assert_equal(built, TEXTS[:2], [built.pictures[:2], built.pictures[2:]])
    assert_equal(built, TEXTS[:2], [[], []])


def test_the_order_of_frames_matters(built: Videos, tmp_path: Path) -> None:
    """Else every test above could pass with frames that nobody looks at."""
    from PIL import Image

    from mmtrt.native.multimodal_session import Clip

    shown = moving(4, 40, 32)
    logits = []
    for name, frames in (("there", shown), ("back", shown[::-1])):
        directory = tmp_path / name
        directory.mkdir()
        for number, frame in enumerate(frames):
            Image.fromarray(frame).save(directory / f"{number:02}.png")
        clip = Clip(str(directory), 4)
        answers = built.answered(TEXTS[:1], [clip], keep_logits=True)
        logits.append(answers.generation.logits[0])
    assert np.abs(logits[0] - logits[1]).max() > 10 * TOLERANCE


def test_a_repeated_token_is_penalised_as_in_transformers(built: Videos, tmp_path: Path) -> None:
    """Rows of a video count as the video's own token."""
    from mmtrt.native.sampling import Sampling

    clips = built.clips(tmp_path, 1, 4)
    answers = built.answered(TEXTS[:1], clips, sampling=Sampling(repetition_penalty=3.0))
    tokens, _ = built.generated(TEXTS[:1], clips, repetition_penalty=3.0)
    assert [answer.token_ids for answer in answers.answers] == tokens


@pytest.mark.parametrize("frames", [1, 5])
def test_the_planners_sizes_are_what_is_inserted(
    built: Videos, frames: int, tmp_path: Path
) -> None:
    case = built.case
    for number, (height, width) in enumerate((SIZES[0], (200, 150), (11, 90))):
        size = f"workload.image_size=[{height},{width}]" if built.counts_pixels else "until=run"
        words = [f"variant={case.variant}", f"workload.video_frames={frames}", size]
        sizing = load_recipe(case.recipe or case.model, words).sizing
        video = make_video(tmp_path / f"{number}.png", 6, height, width)
        prepared = built.prepared(["what?"], [video], frames)
        size_of = built.session.engines.size_of(prepared.prompts, new_tokens=1, images=0)
        assert size_of.visual_features == sizing.features_per_request, (height, width)
        assert prepared.vision_items == sizing.vision_batch(1), (height, width)


def test_limits_hold_at_and_one_over(
    built: Videos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of a request, and frames or patches of the vision engine."""
    from mmtrt.native.errors import NativeError

    engines, clips = built.session.engines, built.clips(tmp_path, 1, 4)
    prepared = built.prepared(TEXTS[:1], [clips[0].path], 4)
    rows = engines.size_of(prepared.prompts, new_tokens=1, images=0).visual_features
    batch = engines.limits.max_batch_size
    for limit, code, needed in (
        ("rows", "RUN206", rows),
        ("vision", "RUN202", prepared.vision_items),
    ):
        for allowed in (needed, needed - 1):
            with monkeypatch.context() as patched:
                if limit == "vision":
                    patched.setattr(engines, "vision_max_batch_size", allowed)
                else:
                    changed = replace(engines.limits, max_multimodal_len=allowed * batch)
                    patched.setattr(engines, "limits", changed)
                if allowed == needed:
                    built.answered(TEXTS[:1], clips)
                    continue
                with pytest.raises(NativeError) as caught:
                    built.answered(TEXTS[:1], clips)
                assert caught.value.code == code


def test_pictures_and_videos_do_not_mix(built: Videos, tmp_path: Path) -> None:
    from mmtrt.native.errors import NativeError

    clips = built.clips(tmp_path, 1, 2)
    with pytest.raises(NativeError, match="pictures and videos") as caught:
        built.session.answer(TEXTS[:1], [built.pictures[:1]], clips=clips, max_new_tokens=1)
    assert caught.value.code == "RUN217"
    for text in ("no <|video_pad|> <|video_pad|> <video> <video>", built.mark + "and" + built.mark):
        with pytest.raises(NativeError) as caught:
            built.answered([text], clips)
        assert caught.value.code == "RUN212"


@pytest.mark.slow
def test_recipes_say_which_families_take_videos() -> None:
    """What a plan accepts is what a frontend does, for every native family."""
    from mmtrt.native.families.video_frontend import VideoFrontend

    for case in CASES.values():
        recipe = load_recipe(case.recipe or case.model, [f"variant={case.variant}"])
        module = import_module(f"mmtrt.native.families.{case.model.removesuffix('_t5')}")
        classes = [each for each in vars(module).values() if isinstance(each, type)]
        takes = any(issubclass(each, VideoFrontend) for each in classes)
        assert takes == ("video" in recipe.file.native.media), case.model


@pytest.mark.parametrize(
    ("recipe", "medium", "fix"),
    [
        ("llava", "video", "run.video=null"),
        ("kosmos2", "video", "run.video=null"),
        ("qwen2_vl", "audio", "run.audio=null"),
    ],
)
def test_a_plan_refuses_what_nobody_looks_at_or_hears(
    recipe: str, medium: str, fix: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    words = ["variant=tiny", f"run.{medium}={tmp_path}/file"]
    with pytest.raises(PlanError, match=f"takes no {medium} for recipe {recipe}") as caught:
        make_plan(load_recipe(recipe, words), HOST)
    assert (caught.value.code, caught.value.fix) == ("ENG101", fix)


def test_a_plan_names_the_decoder_that_a_video_needs(tmp_path: Path) -> None:
    """A picture of the recipe makes room for the video that is asked about."""
    for name, tools in (("a.mp4", {"av"}), ("a.gif", set()), ("frames", set())):
        place = tmp_path / name
        place.touch() if "." in name else place.mkdir()
        words = ["variant=tiny", f"run.video={place}", "run.video_frames=4"]
        plan = make_plan(load_recipe("llava_onevision", words), HOST)
        node = next(node for node in plan.active() if node.id == "run")
        assert {"av"} & set(node.command.tools) == tools
        argv = [symbol(word) for word in node.command.argv]
        assert f"--video-path={{local.video}}/{name}" in argv
        assert argv[argv.index("--video-frames") + 1] == "4"
        assert not any(word.startswith("--image-path") for word in argv)
        missing = [f for f in find(plan) if f.code == "HST102"]
        assert any("mmtrt[video]" in (f.fix or "") for f in missing) == bool(tools)
