"""Frames out of files: Pillow's, PyAV's, a directory's; which ones, and at which rate."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmtrt.native.errors import NativeError
from mmtrt.native.video_file import open_video, places_of
from tests.native.videos import FPS, make_video, moving


def encode(path: Path, frames: int, codec: str = "mpeg4", rate: Any = FPS) -> str:
    """Write a video as cameras do."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for frame in moving(frames, 48, 64):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return str(path)


@pytest.mark.parametrize("total", [1, 2, 7, 8, 30, 301, 1799])
def test_places_are_those_of_transformers_and_of_the_runner(total: int) -> None:
    from transformers.video_utils import VideoMetadata, default_sample_indices_fn

    for frames in {1, 2, 3, 5, 8, 17, 32, total} & set(range(1, total + 1)):
        metadata = VideoMetadata(total_num_frames=total)
        expected = default_sample_indices_fn(metadata, num_frames=frames)
        assert places_of(total, frames) == expected.tolist()
        # TensorRT-LLM 1.2, multimodal_model_runner.py; exact in place of its floats.
        step = Fraction(total, frames)
        assert places_of(total, frames) == [int(step * number) for number in range(frames)]


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "mpeg4"), ("a.mkv", "mpeg4")])
@pytest.mark.parametrize("frames", [1, 5, 13])
def test_files_are_read_as_transformers_does(
    name: str, codec: str, frames: int, tmp_path: Path
) -> None:
    from transformers.video_utils import default_sample_indices_fn, read_video_pyav

    path = encode(tmp_path / name, 13, codec)
    video = open_video(path, frames)
    if name.endswith(".mkv"):  # its header counts no frames, which stops transformers
        path = encode(tmp_path / "a.mp4", 13, codec)
    theirs, metadata = read_video_pyav(path, default_sample_indices_fn, num_frames=frames)
    assert np.array_equal(video.frames, theirs)
    assert video.fps == pytest.approx(metadata.sampled_fps)
    assert video.fps == pytest.approx(frames / 13 * FPS)


def test_animations_keep_frames_and_rate(tmp_path: Path) -> None:
    made = moving(9, 40, 32)
    video = open_video(make_video(tmp_path / "a.png", 9, 40, 32), 4)
    assert np.array_equal(video.frames, made[[0, 2, 4, 6]])
    assert video.fps == pytest.approx(4 / 9 * FPS)
    assert len(open_video(make_video(tmp_path / "long.png", 20, 40, 32)).frames) == 8
    assert len(open_video(make_video(tmp_path / "short.png", 3, 40, 32)).frames) == 3


def test_a_gif_equals_what_another_decoder_makes_of_it(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = make_video(tmp_path / "a.gif", 5, 40, 32)
    with av.open(path) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert np.array_equal(open_video(path, 5).frames, np.stack(decoded))


def test_a_directory_is_a_video_in_the_order_of_names(tmp_path: Path) -> None:
    from PIL import Image

    made = moving(4, 24, 24)
    for number, name in enumerate(("001.png", "002.png", "010.png", "011.png")):
        Image.fromarray(made[number]).save(tmp_path / name)
    (tmp_path / ".hidden").touch()
    video = open_video(str(tmp_path), 2)
    assert np.array_equal(video.frames, made[[0, 2]])
    assert video.fps == 24  # of transformers, where nothing is said
    Image.fromarray(made[0, :8]).save(tmp_path / "000.png")
    with pytest.raises(NativeError, match="different sizes"):
        open_video(str(tmp_path), 5)


def test_a_header_that_promises_too_much_is_not_believed(tmp_path: Path) -> None:
    """A recording that was cut off: frames are taken of what is there."""
    whole = Path(encode(tmp_path / "whole.avi", 12))
    cut = tmp_path / "cut.avi"
    content = whole.read_bytes()
    cut.write_bytes(content[: len(content) * 2 // 3])
    video = open_video(str(cut), 2)
    assert video.frames.shape == (2, 48, 64, 3)
    assert video.fps == FPS  # two of the two that are left


@pytest.mark.parametrize(
    ("name", "frames", "code"),
    [
        ("https://example.com/a.mp4", None, "RUN213"),
        ("missing.mp4", None, "RUN213"),
        ("text.mp4", None, "RUN213"),
        ("text.gif", None, "RUN213"),
        ("empty", None, "RUN218"),
        ("three.png", 4, "RUN218"),
    ],
)
def test_what_cannot_be_read_is_refused(
    name: str, frames: int | None, code: str, tmp_path: Path
) -> None:
    pytest.importorskip("av")
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "text.gif").write_text("no video")
    (tmp_path / "empty").mkdir()
    make_video(tmp_path / "three.png", 3, 24, 24)
    with pytest.raises(NativeError) as caught:
        open_video(name if "://" in name else str(tmp_path / name), frames)
    assert caught.value.code == code


def test_a_missing_decoder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "a.mp4").touch()
    with pytest.raises(NativeError) as caught:
        open_video(str(tmp_path / "a.mp4"))
    assert caught.value.code == "ENV203" and "mmtrt[video]" in str(caught.value.fix)
    assert open_video(make_video(tmp_path / "a.png", 2, 24, 24)).frames.shape == (2, 24, 24, 3)
