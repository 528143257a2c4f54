"""Checkpoints as they are published, beyond what every family's own test looks at."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mmtrt.api import load_recipe
from mmtrt.native.errors import NativeError
from tests.native.eager import eager_engines
from tests.native.families import CASES, NEW_TOKENS, Built
from tests.native.layouts import publish

transformers = pytest.importorskip("transformers")


@pytest.fixture
def tiny(tmp_path: Path) -> Any:
    from mmtrt.native.make_tiny import make_tiny

    def make(model: str) -> Path:
        make_tiny(model, tmp_path / "tiny", 0)
        return tmp_path / "tiny"

    return make


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("page", [(101, 70), (100, 68), (96, 64)])
def test_a_page_of_any_grid(
    page: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    monkeypatch.setattr("mmtrt.native.tiny.nougat.PAGE", page)
    with eager_engines():
        built = Built(CASES["nougat"], tmp_path, "eager")
        answer = built.answer([""], [built.pictures[:1]]).answers[0]
    processor = transformers.NougatProcessor.from_pretrained(built.model_dir)
    pixels = processor(images=[Image.open(built.pictures[0])], return_tensors="pt")
    said = built.reference.model.generate(**pixels, do_sample=False, max_new_tokens=NEW_TOKENS)
    assert answer.token_ids == said[0, 1:].tolist()
    recipe = load_recipe("nougat", ["backend=native", f"model.path={built.model_dir}"])
    states = built.reference.model.encoder(**pixels).last_hidden_state.shape[1]
    assert recipe.sizing.encoder_tokens_per_request == states


def test_internvl_is_sized_by_the_files_of_transformers_layout(tiny: Any, tmp_path: Path) -> None:
    from PIL import Image

    publish(tiny("internvl2"), tmp_path / "hf", "internvl2")
    words = ["backend=native", f"model.path={tmp_path / 'hf'}", "workload.image_size=[64,96]"]
    images = transformers.GotOcr2ImageProcessorPil.from_pretrained(tmp_path / "hf")
    tiles = len(images([Image.new("RGB", (96, 64))], crop_to_patches=True)["pixel_values"])
    sizing = load_recipe("internvl2", words).sizing
    assert sizing.features_per_request == tiles * 4  # 4 x 4 patches, shuffled two by two


def two_sets(model: Path, other: Path) -> None:
    for path in other.glob("model*"):
        shutil.copy(path, model)


@pytest.mark.parametrize("whole", [True, False])
def test_of_two_sets_of_weights_the_one_of_transformers(
    whole: bool, tiny: Any, tmp_path: Path
) -> None:
    from mmtrt.native.hf_model import open_model

    publish(tiny("llava_next"), tmp_path / "sharded", "llava_next")
    model = tmp_path / "sharded"
    shutil.copy(tmp_path / "tiny/model.safetensors", model / "consolidated.safetensors")
    if whole:
        shutil.copy(tmp_path / "tiny/model.safetensors", model)
    theirs = transformers.LlavaNextForConditionalGeneration.from_pretrained(model, dtype="auto")
    found = open_model(model).tensors
    stored = {"torch.float32": "F32", "torch.bfloat16": "BF16"}[
        str(theirs.lm_head.weight.dtype) if not whole else "torch.float32"
    ]
    assert {each.dtype for name, each in found.items() if "inv_freq" not in name} == {stored}
    assert not any("consolidated" in str(each.path) for each in found.values())


@pytest.mark.parametrize(
    ("model", "break_it", "code"),
    [
        ("gemma3", {"quantization_config": {"quant_method": "gptq", "bits": 4}}, "MDL206"),
        ("qwen2_vl", {"packed": True}, "MDL204"),
        ("blip2", {"packed": True}, "MDL204"),
    ],
)
def test_convert_compares_shapes(
    model: str, break_it: dict[str, Any], code: str, tiny: Any, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    from mmtrt.native.convert import convert

    source = tiny(model)
    if "packed" in break_it:
        tensors = load_file(source / "model.safetensors")
        name = next(name for name in tensors if name.endswith("q_proj.weight"))
        tensors[name] = torch.zeros(tensors[name].numel() // 2, 1, dtype=torch.uint8)
        save_file(tensors, source / "model.safetensors", {"format": "pt"})
    else:
        change(source / "config.json", **break_it)
    with pytest.raises(NativeError) as caught:
        convert(source, tmp_path / "out", "float32")
    assert caught.value.code == code


def test_a_question_is_drawn_in_the_font_beside_the_model(tiny: Any, tmp_path: Path) -> None:
    from PIL import Image

    from mmtrt.native.families.deplot import FAMILY

    source = tiny("deplot")
    publish(source, tmp_path / "hf", "deplot")
    change(tmp_path / "hf/preprocessor_config.json", is_vqa=True)
    frontend: Any = FAMILY.frontend(tmp_path / "hf", None, None)  # type: ignore[arg-type]
    with pytest.raises(NativeError, match="RUN214"):
        _ = frontend.processor
    fonts = sorted(Path("/usr/share/fonts").rglob("*.ttf"))
    if not fonts:
        pytest.skip("this machine has no TrueType font")
    shutil.copy(fonts[0], tmp_path / "hf/Arial.TTF")
    picture = Image.new("RGB", (90, 60), "white")
    again: Any = FAMILY.frontend(tmp_path / "hf", None, None)  # type: ignore[arg-type]
    ours = again.process("Which?", [picture])["flattened_patches"]
    images = transformers.Pix2StructImageProcessorPil.from_pretrained(tmp_path / "hf")
    draw = images.render_header
    images.render_header = lambda image, text, **_: draw(image, text, font_path=str(fonts[0]))
    theirs = images([picture], header_text="Which?")["flattened_patches"]
    assert (ours == theirs).all()
