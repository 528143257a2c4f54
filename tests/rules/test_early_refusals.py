"""What is certain of pictures and of a local model's files is refused by ``check``."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from mmtrt.errors import RecipeError
from mmtrt.native.image_file import open_image
from mmtrt.rules.check import find
from mmtrt.rules.picture import look
from tests.rules.test_rules import plan_of
from tests.worlds import ROOT

TINY = ["recipe=llava", "variant=tiny"]
SHIPPED = "asset://pictures/red_circle_left_on_white.png"


def codes(words):
    return [f.code for f in find(plan_of(words)) if f.severity == "error"]


@pytest.mark.parametrize("kind", ["webp", "bmp", "tiff", "avif", "gif", "png", "jpeg", "ppm"])
def test_size_is_what_pillow_opens_upright(kind, tmp_path):
    place, exif = tmp_path / f"a.{kind}", Image.Exif()
    exif[0x0112] = 6
    turns = kind in ("webp", "tiff", "avif", "png", "jpeg")
    Image.new("RGB", (60, 40)).save(place, **({"exif": exif} if turns else {}))
    assert look(str(place)).problem is None
    image = open_image(str(place))
    assert look(str(place)).size == (image.height, image.width)
    assert look(str(place)).stored == (40, 60) or kind in ("avif", "tiff")


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html>", b"garbage", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_refused_before_any_build(content, tmp_path):
    place = tmp_path / "a.png"
    place.write_bytes(content)
    assert codes([*TINY, f"run.image=[{place},{SHIPPED}]", "run.batch_size=2"]) == ["RUN121"]


@pytest.mark.parametrize("word", ["run.image=", "run.image=/tmp", "run.image=/dev/null"])
def test_directories_and_devices_are_refused_before_they_are_hashed(word):
    with pytest.raises(RecipeError) as caught:
        plan_of([*TINY, word])
    assert caught.value.code == "CFG107"


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_sixteen_bits_are_scaled_not_cut(dtype, tmp_path):
    values = (np.arange(64 * 64) * 16).reshape(64, 64).astype(dtype)
    Image.fromarray(values).save(tmp_path / "a.tiff")
    found = np.asarray(open_image(str(tmp_path / "a.tiff")))
    assert np.array_equal(found, np.round(values / 257).astype(np.uint8))


@pytest.mark.parametrize(
    ("lost", "wanted"),
    [
        ("tokenizer.json", ["MDL130"]),
        ("preprocessor_config.json", ["MDL130"]),
        ("model.safetensors", ["MDL104"]),
    ],
)
def test_files_that_run_opens_are_there(lost, wanted, tmp_path):
    shutil.copytree(ROOT / "recipes/assets/llava_tiny", tmp_path / "m")
    (tmp_path / "m" / lost).unlink()
    (tmp_path / "m" / "processor_config.json").write_text("{}")
    assert codes([*TINY, f"model.path={tmp_path / 'm'}"]) == wanted


@pytest.mark.parametrize(
    "words",
    [
        [*TINY, f"run.image=[{SHIPPED},{SHIPPED}]"],
        [*TINY, "workload.batch_size=3", "max_batch_size=2", "max_multimodal_len=72"],
        [*TINY, "max_num_tokens=100", "workload.batch_size=4"],
        [*TINY, "workload.max_new_tokens=900", "max_seq_len=300", "run.max_new_tokens=4"],
        [*TINY, "run.batch_size=9", "max_batch_size=2", "max_multimodal_len=72"],
    ],
)
def test_a_fix_that_is_typed_leaves_no_error(words):
    found = [f for f in find(plan_of(words)) if f.severity == "error"]
    assert found
    fix = found[0].fix.split()
    keys = {word.partition("=")[0] for word in fix}
    assert codes([word for word in words if word.partition("=")[0] not in keys] + fix) == []


def test_null_takes_the_recipes_own_request_away():
    assert plan_of(["recipe=phi4_multimodal", "run.audio=null"]).recipe.run.audio is None
    assert plan_of([*TINY, "run.image=null"]).recipe.run.image is None
    assert plan_of(["recipe=cogvlm", "run.top_p=0.0"]).recipe.run.top_p == 0.0
