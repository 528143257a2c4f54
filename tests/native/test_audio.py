"""Sounds: answers as transformers gives them, one request at a time; files, sizes, limits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmtrt.api import load_recipe, make_plan
from mmtrt.backends.base import symbol
from mmtrt.errors import PlanError
from mmtrt.native.errors import NativeError
from mmtrt.native.sound_file import open_sound
from mmtrt.rules.check import find
from mmtrt.sizing.features import audio_features
from tests.native.eager import eager_engines
from tests.native.families import TEXTS
from tests.native.sounds import MOST_ROWS, RATE, Sounds, chirp, write_wave
from tests.native.test_families import TOLERANCE
from tests.worlds import HOST

SLOW = pytest.mark.slow
LENGTHS = (400, 1679, 1680, 23_456)
"""Samples: one frame, 8 frames, 9 frames, one second and a half."""
CHUNKED = (640_240, 640_241 + 1280, 900_000)
"""Samples: 500 rows, 501 rows, and more: transformers cuts them apart from there on."""


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((model, engine), marks=SLOW if engine == "onnxruntime" else ())
        for model, engine in (("loud", "eager"), ("loud", "onnxruntime"), ("tiny", "onnxruntime"))
    ],
    ids="-".join,
)
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sounds]:
    model, engine = request.param
    with eager_engines() if engine == "eager" else nullcontext():
        yield Sounds(tmp_path_factory.mktemp(model), model, engine)


def assert_equal(built: Sounds, sounds: list[str], pictures: list[list[str]]) -> None:
    """Compare a batch with transformers' answers to each of its requests."""
    texts = TEXTS[: len(sounds)]
    answers = built.answered(texts, sounds, pictures)
    ours = np.stack(answers.generation.logits)
    for row, (text, sound) in enumerate(zip(texts, sounds)):
        shown = pictures[row] if pictures else []
        tokens, logits = built.generated(text, sound, shown)
        answer = answers.answers[row]
        assert answer.token_ids == tokens
        assert np.abs(ours[: len(tokens), row] - logits).max() < TOLERANCE
        assert answer.audio == Path(sound).name
    assert answers.audio_ms > 0


@pytest.mark.parametrize("samples", [*LENGTHS, *(pytest.param(n, marks=SLOW) for n in CHUNKED)])
@pytest.mark.parametrize("pictures", [0, 1])
def test_one_sound(built: Sounds, samples: int, pictures: int, tmp_path: Path) -> None:
    """Alone, and beside a picture, for which the model has another projector."""
    assert_equal(built, [built.sound(tmp_path, samples)], [built.pictures[:pictures]])


def test_a_sound_that_is_cut_into_chunks(built: Sounds, tmp_path: Path) -> None:
    """The last one of 501 rows stands alone among zeros."""
    assert_equal(built, [built.sound(tmp_path, CHUNKED[1])], [])


def test_a_batch_of_unequal_sounds(built: Sounds, tmp_path: Path) -> None:
    """Each is answered as it is alone, which transformers does not do for such a batch."""
    sounds = [built.sound(tmp_path, samples, seed) for seed, samples in enumerate(LENGTHS[2:])]
    assert_equal(built, sounds, [])
    assert_equal(built, sounds, [built.pictures[:2], built.pictures[2:]])


def test_a_picture_in_one_of_two_requests(built: Sounds, tmp_path: Path) -> None:
    """The same sound is encoded once, and projected as each of them asks."""
    sound = built.sound(tmp_path, 16_000)
    assert_equal(built, [sound, sound], [[], built.pictures[:1]])
    prompts = [built.session.frontend.sound_prompt(text, 0) for text in TEXTS[:2]]
    prepared = built.session.prepare(prompts, [[], []], (), [sound, sound])
    assert len(prepared.sounds) == 1


def test_what_is_heard_matters(built: Sounds, tmp_path: Path) -> None:
    """Else every test above could pass with sounds that nobody listens to."""
    logits = []
    for samples in (chirp(8000), chirp(8000)[::-1]):
        sound = write_wave(tmp_path / "a.wav", samples)
        logits.append(built.answered(TEXTS[:1], [sound]).generation.logits[0])
    assert np.abs(logits[0] - logits[1]).max() > 10 * TOLERANCE


def test_pictures_are_answered_by_the_same_engines(built: Sounds) -> None:
    from tests.native.test_families import assert_equal as assert_pictures

    assert_pictures(built, TEXTS[:2], [built.pictures[:1], built.pictures[1:2]])
    assert_pictures(built, TEXTS[:2], [[], []])


def test_a_repeated_token_is_penalised_as_in_transformers(built: Sounds, tmp_path: Path) -> None:
    """Rows of a sound count as the sound's own token."""
    from mmtrt.native.sampling import Sampling

    sampling, sound = Sampling(repetition_penalty=3.0), built.sound(tmp_path, 8000)
    ours = built.answered(TEXTS[:1], [sound], sampling=sampling).answers[0].token_ids
    tokens, _ = built.generated(TEXTS[0], sound, repetition_penalty=3.0)
    assert ours == tokens


@pytest.mark.parametrize("samples", [400, 1679, 1680, 2960, 16_000, 237_841])
def test_the_planners_rows_are_what_is_inserted(
    built: Sounds, samples: int, tmp_path: Path
) -> None:
    words = ["variant=tiny", "workload.image_size=[448,448]"]
    without = load_recipe("phi4_multimodal", words).sizing.features_per_request
    words += [f"workload.audio_seconds={samples / RATE!r}"]
    rows = load_recipe("phi4_multimodal", words).sizing.features_per_request - without
    sound = built.sound(tmp_path, samples)
    prepared = built.session.prepare(["<|audio|>"], [[]], (), [sound])
    size = built.session.engines.size_of(prepared.prompts, new_tokens=1, images=0)
    assert size.visual_features == rows


def test_rows_are_those_of_the_extractor_for_any_length() -> None:
    import torch
    import transformers

    extractor = transformers.Phi4MultimodalFeatureExtractor()
    lengths = [*range(400, 30_000, 37), *range(1_000_000, 1_001_300)]
    frames = (torch.tensor(lengths) - extractor.win_length) // extractor.hop_length + 1
    theirs = extractor._compute_audio_embed_size(frames).tolist()
    assert theirs == [audio_features("phi4_multimodal", n / RATE, "hf") for n in lengths]


def test_limits_hold_at_and_one_over(
    built: Sounds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines, sound = built.session.engines, built.sound(tmp_path, 16_000)
    prompt = built.session.frontend.sound_prompt(TEXTS[0], 0)
    (ids,) = built.session.prepare([prompt], [[]], (), [sound]).prompts
    rows = engines.size_of([ids], new_tokens=1, images=0).visual_features
    batch = engines.limits.max_batch_size
    assert rows == 13
    for limit, code, needed in (
        ("max_multimodal_len", "RUN206", rows * batch),
        ("max_input_len", "RUN203", len(ids)),
    ):
        for allowed in (needed, needed - 1):
            with monkeypatch.context() as patched:
                patched.setattr(engines, "limits", replace(engines.limits, **{limit: allowed}))
                if allowed == needed:
                    built.answered(TEXTS[:1], [sound], max_new_tokens=1)
                    continue
                with pytest.raises(NativeError) as caught:
                    built.answered(TEXTS[:1], [sound], max_new_tokens=1)
                assert caught.value.code == code
    too_long = built.sound(tmp_path, RATE * (MOST_ROWS * 8 + 10) // 100)
    with pytest.raises(NativeError) as caught:
        built.answered(TEXTS[:1], [too_long])
    assert "RUN206" in {each.code for each in (caught.value, *caught.value.also)}


def test_what_cannot_be_heard_is_refused(
    built: Sounds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmtrt.native.multimodal_session import Clip

    session, sound = built.session, built.sound(tmp_path, 8000)

    def code(text: str, path: str, **also: Any) -> str | None:
        with pytest.raises(NativeError) as caught:
            session.answer([text], sound_paths=[path], max_new_tokens=1, **also)
        return caught.value.code

    assert code("what?", built.sound(tmp_path, 399)) == "RUN216"
    assert code("<|audio|> and <|audio|>", sound) == "RUN212"
    assert code("<|image|>", sound) == "RUN212"
    assert code("what?", sound, clips=[Clip("a.gif")]) == "RUN217"
    with monkeypatch.context() as patched:
        patched.setattr(session.engines, "audio", None)
        assert code("what?", sound) == "RUN217"
    monkeypatch.setattr(session, "frontend", object())
    assert code("what?", sound) == "RUN217"


def test_the_stage_writes_which_sound(built: Sounds, tmp_path: Path) -> None:
    """One text and one picture are repeated for two sounds."""
    from mmtrt.native import run

    sounds = [built.sound(tmp_path, samples) for samples in (8000, 4000)]
    words = ["--engine-dir", built.engines, "--model-dir", built.model_dir]
    words += ["--output-dir", tmp_path / "out", "--audio-path", *sounds, "--input-text", "what?"]
    built.stage(run, *words, "--image-path", built.pictures[0], "--max-new-tokens", 2)
    document = json.loads((tmp_path / "out/result.json").read_text())
    assert [each["audio"] for each in document["requests"]] == ["8000_0.wav", "4000_0.wav"]
    assert [each["images"] for each in document["requests"]] == [["0.png"], ["0.png"]]
    assert document["timings"]["audio_ms"] > 0
    assert run.main([str(word) for word in (*words, "--batch-size", 3)]) == 2


def test_quantizing_keeps_what_hears(built: Sounds, tmp_path: Path) -> None:
    from mmtrt.native import quantize

    words = ("--checkpoint-dir", built.checkpoint, "--output-dir", tmp_path, "--format", "int8_wo")
    built.stage(quantize, *words)
    for name in ("config.json", "rank0.safetensors"):
        kept, made = (each / "vision/audio" / name for each in (built.checkpoint, tmp_path))
        assert kept.read_bytes() == made.read_bytes()


@pytest.mark.parametrize("width", [2, 4])
@pytest.mark.parametrize("channels", [1, 2])
def test_waves_are_read_as_ffmpeg_reads_them(width: int, channels: int, tmp_path: Path) -> None:
    from mmtrt.native.sound_file import _decoded

    pytest.importorskip("av")
    samples = np.stack([chirp(3000, seed) for seed in range(channels)], axis=1)
    path = write_wave(tmp_path / "a.wav", samples, width=width)
    ours = open_sound(path, RATE)
    assert (ours.samples.dtype, ours.samples.shape, ours.rate) == (np.float32, (3000,), RATE)
    assert np.abs(ours.samples - _decoded(path, RATE)).max() < 1e-7
    assert np.abs(ours.samples - samples.mean(axis=1)).max() < 2.0**-15


@pytest.mark.parametrize("rate", [8000, 44_100, 48_000])
def test_another_rate_is_resampled(rate: int, tmp_path: Path) -> None:
    """A tone of both channels stays the tone that it is; its length too."""
    pytest.importorskip("av")
    times = np.arange(rate) / rate
    tone = np.stack([np.sin(2 * np.pi * 440 * times), np.zeros(rate)], axis=1)
    sound = open_sound(write_wave(tmp_path / "a.wav", tone * 0.5, rate=rate), RATE)
    assert abs(len(sound.samples) - RATE) <= 1
    inner = slice(400, 15_600)
    expected = 0.25 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    assert np.abs(sound.samples[inner] - expected[inner]).max() < 2e-3


def test_other_files_are_decoded_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    av = pytest.importorskip("av")
    samples = chirp(4000).astype(np.float32)
    path = str(tmp_path / "float.wav")
    with av.open(path, "w") as container:
        stream = container.add_stream("pcm_f32le", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
        frame.rate = RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert np.array_equal(open_sound(path, RATE).samples, samples)

    def code(place: str) -> str | None:
        with pytest.raises(NativeError) as caught:
            open_sound(place, RATE)
        return caught.value.code

    (tmp_path / "text.wav").write_text("no sound")
    assert code(str(tmp_path / "text.wav")) == code(str(tmp_path / "absent.wav")) == "RUN213"
    assert code("https://example.com/a.wav") == "RUN213"
    monkeypatch.setitem(sys.modules, "av", None)
    assert code(path) == "ENV203"


def test_a_plan_names_the_sound_and_its_decoder(tmp_path: Path) -> None:
    waves = {
        "plain.wav": write_wave(tmp_path / "plain.wav", chirp(800)),
        "fast.wav": write_wave(tmp_path / "fast.wav", chirp(800), rate=44_100),
        "b.mp3": str(tmp_path / "b.mp3"),
    }
    Path(waves["b.mp3"]).touch()
    for name, place in waves.items():
        recipe = load_recipe("phi4_multimodal", ["variant=tiny", f"run.audio={place}"])
        plan = make_plan(recipe, HOST)
        nodes = {node.id: node for node in plan.active()}
        run = nodes["run"]
        argv = [symbol(word) for word in run.command.argv]
        assert f"--audio-path={{local.audio}}/{name}" in argv
        assert place in {local.path for local in run.locals}
        assert any(word.startswith("--image-path") for word in argv)
        assert ({"av"} & set(run.command.tools) == set()) == (name == "plain.wav")
        for stage in ("convert", "build_vision"):
            assert "--media" in nodes[stage].command.argv
        missing = [each for each in find(plan) if each.code == "HST102"]
        assert any("mmtrt[video]" in (each.fix or "") for each in missing) == (name != "plain.wav")


@pytest.mark.parametrize(("samples", "fits"), [(188 * 1280 + 399, True), (188 * 1280 + 400, False)])
def test_a_plan_counts_the_sound(samples: int, fits: bool, tmp_path: Path) -> None:
    """Beside the picture of the recipe, which takes 545 of 733 rows; at the limit and one over."""
    place = write_wave(tmp_path / "a.wav", chirp(samples))
    plan = make_plan(load_recipe("phi4_multimodal", ["variant=tiny", f"run.audio={place}"]), HOST)
    found = [each for each in find(plan) if each.code == "SIZ106"]
    assert fits == (not found)
    if found:
        assert "needs 734 visual features, max_multimodal_len allows 733" in found[0].message
        assert (found[0].fix or "").startswith("max_multimodal_len=1468")


def test_plans_of_tensorrt_hear_nothing(tmp_path: Path) -> None:
    place = write_wave(tmp_path / "a.wav", chirp(800))
    words = ["variant=tiny", "engine=tensorrt_rtx", "target.sm=89"]
    host = replace(HOST, versions={**HOST.versions, "tensorrt-rtx-cu13": "1.0"})
    plan = make_plan(load_recipe("phi4_multimodal", words), host)
    (vision,) = (node for node in plan.active() if node.id == "build_vision")
    assert "--media" not in vision.command.argv
    with pytest.raises(PlanError, match="engine=tensorrt_rtx takes no audio") as caught:
        make_plan(load_recipe("phi4_multimodal", [*words, f"run.audio={place}"]), host)
    assert caught.value.code == "ENG101"


@SLOW
def test_another_sound_is_another_run(tmp_path: Path) -> None:
    """From the recipe to the answer, twice under one name; the content decides."""
    argv = [sys.executable, "-m", "mmtrt", "run", "--json", "recipe=phi4_multimodal"]
    argv += ["variant=tiny", "run.audio=a.wav", "run.image=[]", "paths.store=store"]
    root = str(Path(__file__).resolve().parents[2])
    said = []
    for seed in (0, 1, 0):
        write_wave(tmp_path / "a.wav", chirp(8000 * (seed + 1), seed))
        env = {**os.environ, "PYTHONPATH": root}
        done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        document = json.loads(done.stdout)
        said.append({stage["id"]: stage["status"] for stage in document["stages"]}["run"])
        (request,) = document["result"]["requests"]
        assert (request["audio"], request["images"]) == ("a.wav", [])
    assert said == ["done", "done", "hit"]
