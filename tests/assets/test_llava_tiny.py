"""The shipped tiny LLaVA loads with plain transformers, answers right, and can be made again."""

import hashlib
import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

np = pytest.importorskip("numpy")
Image = pytest.importorskip("PIL.Image")

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "tools"
MODEL = ROOT / "recipes" / "assets" / "llava_tiny"
PICTURES = ROOT / "recipes" / "assets" / "pictures"
MAX_BYTES = 6_000_000
# Changes only when the drawing code changes, and then the model must be trained again.
FIRST_PICTURES_SHA256 = "d7c6c68542c513ada391ade6f2d8b6e1ab53166f35b6058376c044e1f711526e"

# At the end of the path, so that nothing there can stand in for an installed package.
sys.path.append(str(TOOLS))

from llava_tiny import card, pictures, questions  # noqa: E402  # needs the path above

from mmtrt.native import shapes as draw  # noqa: E402


@pytest.fixture(scope="module")
def transformers():
    pytest.importorskip("torch")
    return pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def processor(transformers):
    return transformers.AutoProcessor.from_pretrained(MODEL, local_files_only=True)


@pytest.fixture(scope="module")
def model(transformers):
    loaded, report = transformers.LlavaForConditionalGeneration.from_pretrained(
        MODEL, local_files_only=True, output_loading_info=True
    )
    assert not any(report.values()), report
    return loaded.eval()


@pytest.fixture(scope="module")
def labels():
    return json.loads((PICTURES / "labels.json").read_text(encoding="utf-8"))


def ask(model, processor, images, prompts):
    from llava_tiny import evaluate

    return evaluate.ask(model, processor, images, prompts)


def test_files_are_the_expected_ones_without_pickles():
    assert sorted(path.name for path in MODEL.iterdir()) == [
        "README.md",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "metrics.json",
        "model.safetensors",
        "preprocessor_config.json",
        "processor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_files_are_small():
    assert sum(path.stat().st_size for path in MODEL.iterdir()) < MAX_BYTES


def test_card_and_metrics_belong_to_the_weights():
    metrics = json.loads((MODEL / "metrics.json").read_text(encoding="utf-8"))
    weights = (MODEL / "model.safetensors").read_bytes()
    assert metrics["weights_sha256"] == hashlib.sha256(weights).hexdigest()
    assert metrics["first_pictures_sha256"] == FIRST_PICTURES_SHA256
    assert not metrics["quick"]
    assert metrics["held_out"]["seen_in_training"] == 0
    assert (MODEL / "README.md").read_text(encoding="utf-8") == card.render(metrics)


@pytest.mark.parametrize("kind", draw.QUESTIONS)
def test_recorded_accuracy_is_high(kind):
    metrics = json.loads((MODEL / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["held_out"]["count"] >= 300
    assert all(shares[kind] >= 0.97 for shares in metrics["held_out"]["accuracy"].values())


def test_first_pictures_are_pinned():
    assert draw.digest(0, "train", 8, 48) == FIRST_PICTURES_SHA256


def test_streams_and_seeds_differ():
    streams = [(0, "train"), (1, "train"), (0, "held-out"), (1, "held-out")]
    assert len({draw.digest(seed, stream, 8, 48) for seed, stream in streams}) == len(streams)


@pytest.mark.parametrize("shape", draw.SHAPES)
def test_shape_stays_inside_the_picture(shape):
    some = (scene for scene in draw.scenes(7, "edges") if scene.shape == shape)
    for scene in islice(some, 50):
        # Large, because at 48 px the blended outline may reach the edge though the shape does not.
        pixels = draw.draw(scene, 336)
        edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        assert (edge == scene.paper).all()
        assert (pixels == scene.ink).all(axis=-1).sum() > 2000


def test_shipped_pictures_are_what_the_code_draws(tmp_path, labels):
    pictures.write(tmp_path, seed=0)
    drawn, shipped = sorted(tmp_path.iterdir()), sorted(PICTURES.iterdir())
    assert [path.name for path in drawn] == [path.name for path in shipped]
    assert len(labels) == len(pictures.LOOKS)
    for mine, theirs in zip(drawn, shipped):
        if mine.suffix == ".png":
            # Pixels, not bytes: another zlib packs the same picture differently.
            assert np.array_equal(np.asarray(Image.open(mine)), np.asarray(Image.open(theirs)))
        else:
            assert mine.read_bytes() == theirs.read_bytes()


def test_config_is_an_ordinary_llava(model):
    config, text = model.config, model.config.text_config
    assert config.model_type == "llava"
    assert config.vision_config.model_type == "clip_vision_model"
    assert (config.vision_feature_layer, config.vision_feature_select_strategy) == (-2, "default")
    assert text.model_type == "llama"
    assert (text.num_attention_heads, text.num_key_value_heads) == (4, 2)
    assert text.max_position_embeddings >= 256


def test_processor_widens_the_image_token(model, processor):
    image = Image.new("RGB", (120, 90))
    inputs = processor(images=image, text=questions.prompt("shape"), return_tensors="pt")
    ids = inputs["input_ids"][0].tolist()
    assert ids[0] == processor.tokenizer.bos_token_id
    assert ids.count(model.config.image_token_id) == model.config.image_seq_length == 36
    assert tuple(inputs["pixel_values"].shape) == (1, 3, 48, 48)
    assert set(inputs) == {"input_ids", "attention_mask", "pixel_values"}


def test_tokenizer_fits_the_model(model, processor):
    tokenizer = processor.tokenizer
    assert len(tokenizer) == model.config.text_config.vocab_size
    assert tokenizer.padding_side == "left"
    assert tokenizer.pad_token_id not in {tokenizer.eos_token_id, tokenizer.bos_token_id, None}
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert model.generation_config.pad_token_id == tokenizer.pad_token_id
    text = " an orange cross, na\u00efve"
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text


def test_chat_template_makes_the_prompt(processor):
    pytest.importorskip("jinja2")
    content = [{"type": "image"}, {"type": "text", "text": draw.QUESTIONS["side"]}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True
    )
    assert text == questions.prompt("side")


def test_training_pixels_equal_the_image_processor(processor):
    torch = pytest.importorskip("torch")
    from llava_tiny import train

    scenes = list(islice(draw.scenes(3, "pixels"), 4))
    images = [Image.fromarray(draw.draw(scene, 48)) for scene in scenes]
    wanted = processor.image_processor(images, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(train.pixel_values(scenes, processor), wanted, rtol=0, atol=1e-5)


def test_every_label_of_the_pictures_is_answered(model, processor, labels):
    for picture, wanted in labels.items():
        prompts = [f"USER: <image>\n{question} ASSISTANT:" for question in wanted]
        images = [Image.open(PICTURES / picture)] * len(prompts)
        told = ask(model, processor, images, prompts)
        assert dict(zip(wanted, told)) == wanted, picture


def test_generation_stops_at_eos(model, processor):
    image = Image.open(PICTURES / "red_circle_left_on_white.png")
    inputs = processor(images=image, text=questions.prompt("describe"), return_tensors="pt")
    tokens = model.generate(**inputs)[0, inputs["input_ids"].shape[1] :].tolist()
    eos = processor.tokenizer.eos_token_id
    assert tokens.index(eos) == len(tokens) - 1 < model.generation_config.max_new_tokens - 1


def test_fresh_pictures_are_answered(model, processor):
    from llava_tiny import evaluate

    fresh = list(islice(draw.scenes(2024, "fresh"), 60))
    shares = evaluate.accuracy(model, processor, fresh, side_px=96)
    assert min(shares.values()) >= 0.9, shares


@pytest.mark.slow
def test_quick_run_works_and_draws_the_same_data(tmp_path, transformers):
    out, drawn = tmp_path / "with space" / "model", tmp_path / "pictures"
    command = [sys.executable, str(TOOLS / "train_llava_tiny.py"), "--quick", "--seed", "0"]
    done = subprocess.run(
        [*command, "--out", str(out), "--pictures", str(drawn)],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in out.iterdir()} == {path.name for path in MODEL.iterdir()}
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["quick"]
    assert metrics["first_pictures_sha256"] == FIRST_PICTURES_SHA256
    # The tokenizer is part of the data: it must come out the same, byte for byte.
    for name in ("tokenizer.json", "labels.json"):
        mine, theirs = (out, MODEL) if name == "tokenizer.json" else (drawn, PICTURES)
        assert (mine / name).read_bytes() == (theirs / name).read_bytes()
    transformers.LlavaForConditionalGeneration.from_pretrained(out, local_files_only=True)
