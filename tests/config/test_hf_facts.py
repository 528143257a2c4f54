"""Facts from a model's own files, held against the configuration classes of transformers."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mmtrt.config.compose import compose
from mmtrt.config.hf_facts import DTYPES, LANGUAGE, VISION, LocalFacts, refine
from mmtrt.config.recipe import resolve
from mmtrt.config.schema import ModelFacts
from mmtrt.errors import RecipeError
from mmtrt.sizing.features import CALCULATORS
from tests.calls import calls_of
from tests.worlds import ROOT, recipe, settings

TEXT = {
    "model_type": "llama",
    "hidden_size": 512,
    "intermediate_size": 1024,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 999,
    "max_position_embeddings": 777,
}
VISION_TOWER = {"image_size": 112, "patch_size": 7}
SAID = {
    "hidden_size": 512,
    "intermediate_size": 1024,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 999,
    "max_position_embeddings": 777,
}


def facts_of(
    family: str,
    config: Any,
    preprocessor: Any = None,
    *,
    variant: str | None = None,
    place: Path = Path("model"),
) -> LocalFacts:
    """Write the files of a model and refine the facts of a recipe's variant by them."""
    place.mkdir(exist_ok=True)
    for name, content in (("config", config), ("preprocessor_config", preprocessor)):
        if content is not None:
            text = content if isinstance(content, str) else json.dumps(content, default=str)
            (place / f"{name}.json").write_text(text)
    file = settings(family).recipe
    stated = file.variants[variant or file.default_variant].facts
    return refine(stated, file.family, {file.hf_model_type} - {None}, str(place))


def class_config(name: str, **parts: Any) -> dict[str, Any]:
    """Return a transformers configuration as it would be written."""
    transformers = pytest.importorskip("transformers")
    made = {
        key: getattr(transformers, value[0])(**value[1]).to_dict()
        if isinstance(value, tuple)
        else value
        for key, value in parts.items()
    }
    return json.loads(json.dumps(getattr(transformers, name)(**made).to_dict(), default=str))


def taken(local: LocalFacts, names: dict[str, Any]) -> dict[str, Any]:
    return {name: getattr(local.facts, name) for name in names}


# Configuration classes

LLAMA = ("LlamaConfig", {k: v for k, v in TEXT.items() if k != "model_type"})
CLIP = ("CLIPVisionConfig", VISION_TOWER)
SQUARE = {"image_size": [112, 112], "patch_size": 7}
MINI = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


@pytest.mark.parametrize(
    ("family", "variant"),
    [
        ("blip2", "flan_t5_xl"),
        ("fuyu", None),
        ("kosmos2", None),
        ("mllama", "11b"),
    ],
)
def test_defaults_of_a_class_are_the_recipes_facts(family, variant):
    """These classes have the published checkpoint's numbers as defaults."""
    name, parts = {
        "blip2": (
            "Blip2Config",
            {
                "text_config": {
                    "model_type": "t5",
                    "d_model": 2048,
                    "d_ff": 5120,
                    "d_kv": 64,
                    "num_heads": 32,
                    "num_layers": 24,
                    "vocab_size": 32128,
                }
            },
        ),
        "fuyu": ("FuyuConfig", {}),
        "kosmos2": ("Kosmos2Config", {}),
        "mllama": ("MllamaConfig", {}),
    }[family]
    size = {"height": 1080, "width": 1920}
    preprocessor = {"size": size} if family == "fuyu" else None
    local = facts_of(family, class_config(name, **parts), preprocessor, variant=variant)
    assert local.differ == {} and local.because == ""
    assert local.files[0] == "model/config.json"


@pytest.mark.parametrize(
    ("family", "config", "expected"),
    [
        ("llava", ("LlavaConfig", {"text_config": LLAMA, "vision_config": CLIP}), SAID | SQUARE),
        (
            "llava_next",
            (
                "LlavaNextConfig",
                {
                    "text_config": LLAMA,
                    "vision_config": CLIP,
                    "image_grid_pinpoints": [[112, 224], [224, 112]],
                },
            ),
            SAID | SQUARE | {"image_grid_pinpoints": [[112, 224], [224, 112]]},
        ),
        (
            "llava_onevision",
            (
                "LlavaOnevisionConfig",
                {
                    "text_config": LLAMA,
                    "vision_config": CLIP,
                    "vision_aspect_ratio": "anyres_max_4",
                    "image_grid_pinpoints": [[112, 224]],
                },
            ),
            SAID
            | SQUARE
            | {"image_grid_pinpoints": [[112, 224]], "max_tiles": 4, "frame_tokens": 64},
        ),
        (
            "gemma3",
            (
                "Gemma3Config",
                {
                    "text_config": ("Gemma3TextConfig", {**LLAMA[1], "head_dim": 96}),
                    "vision_config": ("SiglipVisionConfig", VISION_TOWER),
                    "mm_tokens_per_image": 16,
                },
            ),
            SAID | SQUARE | {"image_tokens": 16, "head_dim": 96},
        ),
        (
            "mllama",
            (
                "MllamaConfig",
                {
                    "text_config": (
                        "MllamaTextConfig",
                        {**LLAMA[1], "cross_attention_layers": [1]},
                    ),
                    "vision_config": (
                        "MllamaVisionConfig",
                        {
                            **VISION_TOWER,
                            "max_num_tiles": 2,
                            "supported_aspect_ratios": [[1, 1], [1, 2], [2, 1]],
                        },
                    ),
                },
            ),
            SAID | SQUARE | {"max_tiles": 2},
        ),
        (
            "blip2",
            (
                "Blip2Config",
                {
                    "num_query_tokens": 8,
                    "vision_config": VISION_TOWER,
                    "text_config": {
                        "model_type": "opt",
                        **MINI,
                        "ffn_dim": 77,
                        "word_embed_proj_dim": 64,
                        "max_position_embeddings": 88,
                        "vocab_size": 99,
                    },
                },
            ),
            SQUARE
            | MINI
            | {"num_key_value_heads": 4, "intermediate_size": 77, "image_tokens": 8}
            | {"max_position_embeddings": 88, "vocab_size": 99},
        ),
        (
            "blip2",
            (
                "Blip2Config",
                {
                    "vision_config": VISION_TOWER,
                    "text_config": {
                        "model_type": "t5",
                        "d_model": 64,
                        "d_ff": 77,
                        "d_kv": 8,
                        "num_layers": 5,
                        "num_decoder_layers": 2,
                        "num_heads": 4,
                    },
                },
            ),
            MINI | {"intermediate_size": 77, "head_dim": 8, "num_key_value_heads": 4},
        ),
        (
            "kosmos2",
            (
                "Kosmos2Config",
                {
                    "latent_query_num": 9,
                    "vision_config": VISION_TOWER,
                    "text_config": {
                        "embed_dim": 64,
                        "layers": 2,
                        "attention_heads": 4,
                        "ffn_dim": 77,
                        "vocab_size": 99,
                        "max_position_embeddings": 88,
                    },
                },
            ),
            SQUARE
            | MINI
            | {"image_tokens": 9, "intermediate_size": 77, "num_key_value_heads": 4}
            | {"vocab_size": 99, "max_position_embeddings": 88},
        ),
        (
            "phi4_multimodal",
            (
                "Phi4MultimodalConfig",
                {**LLAMA[1], "vision_config": {"image_size": 112, "patch_size": 7}},
            ),
            SAID | SQUARE | {"max_tiles": 5},
        ),
        (
            "qwen2_vl",
            (
                "Qwen2VLConfig",
                {
                    "text_config": LLAMA[1],
                    "vision_config": {"patch_size": 7, "spatial_merge_size": 3},
                },
            ),
            SAID
            | {"patch_size": 7, "spatial_merge_size": 3, "image_size": [504, 504]}
            | {"min_pixels": 11, "max_pixels": 22},
        ),
        (
            "fuyu",
            ("FuyuConfig", {**LLAMA[1], "patch_size": 15}),
            SAID | {"patch_size": 15, "image_size": [30, 60]},
        ),
        (
            "deplot",
            (
                "Pix2StructConfig",
                {
                    "text_config": {
                        "hidden_size": 64,
                        "d_kv": 16,
                        "d_ff": 77,
                        "num_layers": 2,
                        "num_heads": 4,
                        "vocab_size": 99,
                    }
                },
            ),
            MINI
            | {"intermediate_size": 77, "vocab_size": 99, "num_key_value_heads": 4}
            | {"head_dim": None, "max_patches": 33, "patch_size": 8},
        ),
        (
            "nougat",
            (
                "VisionEncoderDecoderConfig",
                {
                    "encoder": ("DonutSwinConfig", {"image_size": [256, 128], "patch_size": 4}),
                    "decoder": (
                        "MBartConfig",
                        {
                            "d_model": 64,
                            "decoder_layers": 2,
                            "decoder_ffn_dim": 77,
                            "decoder_attention_heads": 4,
                            "encoder_attention_heads": 16,
                            "vocab_size": 99,
                            "max_position_embeddings": 88,
                        },
                    ),
                },
            ),
            MINI
            | {"intermediate_size": 77, "num_key_value_heads": 4, "vocab_size": 99}
            | {"image_size": [256, 128], "patch_size": 4, "image_tokens": 32}
            | {"max_position_embeddings": 88},
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_facts_are_what_the_class_was_made_with(family, config, expected):
    preprocessor = {
        "qwen2_vl": {"min_pixels": None, "size": {"shortest_edge": 11, "longest_edge": 22}},
        "fuyu": {"size": {"height": 30, "width": 60}},
        "deplot": {"max_patches": 33, "patch_size": {"height": 8, "width": 8}},
        "phi4_multimodal": {"dynamic_hd": 5},
    }.get(family)
    variant = "flan_t5_xl" if "t5" in str(config) else None
    data = class_config(config[0], **config[1])
    if family == "phi4_multimodal":
        del data["model_type"]  # the recipe's checkpoint has code of its own, and another type
    assert taken(facts_of(family, data, preprocessor, variant=variant), expected) == expected


# Models whose configuration is code of their own

PUBLISHED = {
    "internvl2": (
        {
            "model_type": "internvl_chat",
            "llm_config": TEXT,
            "vision_config": {"image_size": 448, "patch_size": 14},
            "force_image_size": 224,
            "downsample_ratio": 0.5,
            "max_dynamic_patch": 6,
        },
        None,
        SAID | {"image_size": [224, 224], "image_tokens": 64, "max_tiles": 6},
    ),
    "vila": (
        {
            "model_type": "llava_llama",
            "llm_cfg": TEXT,
            "vision_tower_cfg": {"image_size": 448, "patch_size": 14},
            "mm_projector_cfg": {"mm_projector_type": "mlp_downsample"},
            "model_dtype": "torch.float16",
        },
        None,
        SAID | {"image_size": [448, 448], "image_tokens": 256, "dtype": "float16"},
    ),
    "cogvlm": ({**TEXT, "vision_config": VISION_TOWER}, None, SAID | SQUARE),
    "internlm_xcomposer2": (
        {**TEXT, "model_type": "internlmxcomposer2", "img_size": 224},
        None,
        SAID | {"image_size": [224, 224]},
    ),
    "phi3_vision": (
        {**TEXT, "model_type": "phi3_v", "img_processor": {"num_img_tokens": 144}},
        {"num_crops": 4},
        SAID | {"max_tiles": 4},
    ),
    "phi4_multimodal": (
        {
            **TEXT,
            "model_type": "phi4mm",
            "embd_layer": {"image_embd_layer": {"crop_size": 224, "image_token_compression": {}}},
        },
        {"dynamic_hd": 9},
        SAID | {"image_size": [224, 224], "max_tiles": 9},
    ),
    "qwen2_vl": (
        {**TEXT, "model_type": "qwen2_vl", "vision_config": {"hidden_size": 7, "patch_size": 7}},
        {"min_pixels": 11, "max_pixels": 22, "merge_size": 3},
        SAID | {"patch_size": 7, "spatial_merge_size": 3, "min_pixels": 11, "max_pixels": 22},
    ),
}


@pytest.mark.parametrize("family", PUBLISHED)
def test_facts_of_models_with_code_of_their_own(family):
    config, preprocessor, expected = PUBLISHED[family]
    assert taken(facts_of(family, config, preprocessor), expected) == expected


def test_what_names_a_fact_is_one():
    names = {f.name for f in dataclasses.fields(ModelFacts)}
    assert LANGUAGE.keys() <= names
    assert {fact for facts in VISION.values() for fact in facts} <= names
    assert VISION.keys() <= CALCULATORS.keys()


# What the files leave out, and what they say besides


def test_what_is_left_out_stays_as_the_recipe_has_it():
    elided = {"model_type": "llava", "text_config": {"vocab_size": 32064}, "vision_config": None}
    assert facts_of("llava", elided).differ == {}


def test_keys_that_nobody_asks_for_are_left_alone():
    junk = {"model_type": "llava", "hidden_sizes": "x", "vision_config": [], "text_config": "y"}
    junk |= {"id2label": {"0": 1}, "nan": float("nan"), "": None}
    assert facts_of("llava", junk, {"size": "x", "image_grid_pinpoints": 1}).differ == {}


def test_number_of_another_models_weights_is_dropped():
    local = facts_of("blip2", {"text_config": {"hidden_size": 1024}})
    assert local.differ.keys() == {"hidden_size", "parameters"}
    assert local.facts.parameters is None


def test_grouped_heads_are_not_guessed():
    local = facts_of("llava_next", {"text_config": {"num_attention_heads": 16}})
    assert local.facts.num_key_value_heads == 8


@pytest.mark.parametrize("text", ["float8_e4m3fn", "auto", ""])
def test_number_format_that_has_no_name_here_is_left_out(text):
    assert facts_of("llava", {"torch_dtype": text}).facts.dtype == "float16"


@pytest.mark.parametrize("text", DTYPES)
@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])
def test_number_format(text, key):
    assert facts_of("llava", {key: text}).facts.dtype == text
    assert facts_of("llava", {"text_config": {key: text}}).facts.dtype == text


def test_model_of_another_type_is_left_to_the_rule():
    config = {"model_type": "llava_next", "vision_config": {"image_size": "big"}}
    assert facts_of("llava", config).differ == {}


@pytest.mark.parametrize("path", [None, "nowhere", "model.nemo", "asset://nothing", "a\0b", "~x/y"])
def test_no_directory_no_facts(path):
    Path("model.nemo").write_bytes(b"x")
    stated = ModelFacts(hidden_size=1)
    assert refine(stated, "llava", {"llava"}, path) == LocalFacts(stated)


def test_pictures_prepared_beside_other_processors():
    """transformers 5 writes processor_config.json alone."""
    Path("model").mkdir()
    content = {"image_processor": {"num_crops": 3}}
    Path("model/processor_config.json").write_text(json.dumps(content))
    local = facts_of("phi3_vision", {"model_type": "phi3_v"})
    assert local.facts.max_tiles == 3
    assert local.because == "facts from model/processor_config.json"


# What is wrong with files


@pytest.mark.parametrize(
    ("config", "message", "at"),
    [
        (
            '{"text_config": {\n  "hidden_size": "4096"}}',
            "text_config.hidden_size of the model must be a whole number, not the text '4096'",
            "model/config.json:2:18",
        ),
        (
            '{"text_config": {"hidden_size": 0}}',
            "text_config.hidden_size of the model must be at least 1, not 0",
            "model/config.json:1:33",
        ),
        (
            '{"hidden_size": 40.5}',
            "hidden_size of the model must be a whole number, not the number 40.5",
            "model/config.json:1:17",
        ),
        (
            '{"hidden_size": true}',
            "hidden_size of the model must be a whole number, not the truth value true",
            "model/config.json:1:17",
        ),
        (
            '{"image_grid_pinpoints": [[336, 672],\n [336]]}',
            "image_grid_pinpoints of the model must have 2 items, not 1",
            "model/config.json:2:2",
        ),
        (
            '{"vision_config": {"image_size": -1}}',
            "vision_config.image_size of the model must be at least 1, not -1",
            "model/config.json:1:34",
        ),
        (
            '{"vision_config": {"image_size": {"height": 3, "width": "x"}}}',
            "vision_config.image_size of the model must be a whole number, not the text 'x'",
            "model/config.json:1:34",
        ),
        (
            '{"vision_config": {"patch_size": [14, 7]}}',
            "vision_config.patch_size of the model must be a whole number, not a list",
            "model/config.json:1:34",
        ),
        (
            '{"torch_dtype": 16}',
            "torch_dtype of the model must be one of auto, float32, float16, bfloat16",
            "model/config.json:1:17",
        ),
    ],
)
def test_value_that_is_no_fact_is_told_with_its_place(config, message, at):
    with pytest.raises(RecipeError) as caught:
        facts_of("llava_next", config)
    assert (caught.value.code, caught.value.message, caught.value.at) == ("CFG114", message, at)


def test_every_wrong_value_is_told():
    with pytest.raises(RecipeError) as caught:
        facts_of("llava", '{"hidden_size": "a", "vocab_size": "b"}')
    assert "hidden_size" in caught.value.render() and "vocab_size" in caught.value.render()


@pytest.mark.parametrize(
    ("content", "at", "why"),
    [
        (b'{"a": 1,\n  b}', "model/config.json:2:3", "Expecting property name"),
        (b"", "model/config.json:1:1", "Expecting value"),
        (b"[]", "model/config.json", "it holds a list, not an object"),
        (b'"x"', "model/config.json", "it holds the text 'x', not an object"),
        (b'{"a": "\xff"}', "model/config.json", "'utf-8' codec can't decode"),
        (b"[" * 200_000, "model/config.json", "maximum recursion depth"),
    ],
)
def test_file_that_is_no_json_object(content, at, why):
    Path("model").mkdir()
    Path("model/config.json").write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        refine(ModelFacts(), "llava", {"llava"}, "model")
    assert caught.value.code == "CFG105" and caught.value.at == at
    assert why in (caught.value.why or "")


def test_broken_preprocessor_is_told():
    with pytest.raises(RecipeError) as caught:
        facts_of("llava", {}, "{")
    assert (caught.value.at or "").startswith("model/preprocessor_config.json:1:2")


# In a recipe


def test_recipe_takes_the_facts_of_a_local_model():
    facts_of("llava", {"vision_config": {"image_size": 448}, "text_config": {"hidden_size": 64}})
    found = recipe("llava", model__path="model")
    assert found.variant.facts.hidden_size == 64
    assert found.sizing.features_per_request == 1024
    assert found.sizing.image.because.endswith("; facts from model/config.json")
    assert found.file.variants["7b"].facts.hidden_size == 4096
    assert recipe("llava").sizing.features_per_request == 576


def test_recipe_of_an_asset_takes_the_assets_facts(user_dir, monkeypatch):
    """The user's own directory is searched for assets too."""
    root = user_dir(('    repo_id: me/small\n    revision: "b234b80"\n', "    path: asset://m\n"))
    (root / "assets").mkdir()
    facts_of("llava", {"vision_config": {"image_size": 96}}, place=root / "assets/m")
    composed = compose(["recipe=mine"], [root])
    found = resolve(composed.settings, (), composed.where, (root,))
    assert found.variant.facts.image_size == [96, 96]
    assert found.local.files == ("my/assets/m/config.json",)


def test_asset_that_ships_says_what_its_recipe_says():
    differ = recipe("llava", variant="tiny").local.differ
    assert differ == {"intermediate_size": (None, 384)}


def test_work_does_not_grow_with_what_is_not_asked_for():
    spent = []
    for labels in (0, 500):
        more = {"id2label": {str(n): f"label {n}" for n in range(labels)}}
        config, preprocessor = PUBLISHED["qwen2_vl"][:2]
        stated = facts_of("qwen2_vl", config | more, preprocessor).facts
        counts = calls_of(lambda: refine(stated, "qwen2_vl", {"qwen2_vl"}, "model"))  # noqa: B023
        assert counts["open"] <= 4
        spent.append(counts.total())
    assert spent[0] == spent[1] < 8_000  # measured: 1,600


def test_nothing_heavy_is_imported():
    code = "import sys, mmtrt.config.hf_facts as m; m.refine(m.ModelFacts(), 'x', (), None);"
    code += "print([n for n in ('yaml', 'torch', 'transformers', 'hydra') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
