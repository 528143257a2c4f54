from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmtrt.native.clip_images import read_preprocessing
from mmtrt.native.errors import NativeError
from mmtrt.native.image_file import open_image

SETTINGS: list[dict[str, Any]] = [
    {},
    {"size": {"shortest_edge": 24}, "crop_size": {"height": 24, "width": 24}},
    {"size": {"shortest_edge": 20}, "crop_size": {"height": 33, "width": 24}},
    {"size": {"height": 17, "width": 31}, "do_center_crop": False},
    {"do_resize": False, "crop_size": {"height": 50, "width": 47}},
    {"size": {"shortest_edge": 30}, "crop_size": {"height": 28, "width": 28}, "resample": 2},
    {"do_normalize": False, "rescale_factor": 1 / 127.5},
    {"do_rescale": False},
    {"image_mean": [0.1, 0.2, 0.3], "image_std": [1.0, 2.0, 3.0]},
]


def random_images(count: int, seed: int) -> list[Any]:
    random = np.random.default_rng(seed)
    modes = ["RGB", "RGBA", "L", "LA", "P", "1"]
    pictures = []
    for index in range(count):
        height, width = random.integers(5, 120, 2)
        pixels = random.integers(0, 256, (height, width, 4), dtype=np.uint8)
        pictures.append(Image.fromarray(pixels).convert(modes[index % len(modes)]))
    return pictures


@pytest.mark.parametrize("settings", SETTINGS)
def test_pixels_equal_transformers_bit_for_bit(settings: dict[str, Any], tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.CLIPImageProcessorPil(**settings)
    theirs.save_pretrained(tmp_path)
    ours = read_preprocessing(tmp_path)
    for image in random_images(30, seed=len(str(settings))):
        expected = theirs(image, return_tensors="np")["pixel_values"][0]
        (got,) = ours([image])
        assert got.dtype == np.float32
        assert got.flags["C_CONTIGUOUS"]
        np.testing.assert_array_equal(got, expected)


def test_older_files_spell_sizes_as_numbers(tmp_path: Path) -> None:
    old = {"feature_extractor_type": "CLIPFeatureExtractor", "size": 30, "crop_size": 28}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(old))
    (got,) = read_preprocessing(tmp_path)([Image.new("RGB", (60, 40))])
    assert got.shape == (3, 28, 28)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"image_processor_type": "LlavaImageProcessor"}, "'LlavaImageProcessor'"),
        ({}, "None"),
        ({"image_processor_type": "CLIPImageProcessor", "do_pad": True}, "do_pad"),
        ({"image_processor_type": "CLIPImageProcessor", "size": {"longest_edge": 3}}, "size"),
        ({"image_processor_type": "CLIPImageProcessor", "crop_size": {"x": 3}}, "height"),
    ],
)
def test_unknown_settings_are_refused(tmp_path: Path, settings: dict, named: str) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(NativeError, match=named) as caught:
        read_preprocessing(tmp_path)
    assert caught.value.code == "RUN214"


def test_a_photograph_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees
    Image.new("RGB", (40, 20)).save(tmp_path / "p.jpg", exif=exif)
    assert open_image(str(tmp_path / "p.jpg")).size == (20, 40)
