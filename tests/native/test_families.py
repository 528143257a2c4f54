"""The contract of every family: engines built from its tiny model answer as transformers does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.native.conftest import finish, start_stage
from tests.native.families import CASES, NEW_TOKENS, Built
from tests.native.test_determinism import files_of
from tests.native.tiny_llava import make_image

TOLERANCE = 1e-4


@pytest.fixture(scope="module", params=CASES)
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """Build a family once; pytest runs all of its tests before the next family's."""
    pytest.importorskip("transformers")
    yield Built(CASES[request.param], tmp_path_factory.mktemp(request.param))


def assert_equal(built: Built, texts: Sequence[str], pictures: Sequence[Sequence[str]]) -> None:
    """Compare tokens exactly and the logits of every step closely, while each request lasts."""
    answers = built.answer(texts, pictures)
    tokens, logits = built.expected(texts, pictures)
    eos = built.session.engines.llm.special_tokens.eos
    ours = np.stack(answers.generation.logits)
    worst = 0.0
    for row, answer in enumerate(answers.answers):
        count = len(answer.token_ids)
        assert answer.token_ids == tokens[row][:count]
        assert count == NEW_TOKENS or answer.token_ids[-1] in eos
        worst = max(worst, float(np.abs(ours[:count, row] - logits[:count, row]).max()))
    assert worst < TOLERANCE
    built.worst = max(getattr(built, "worst", 0.0), worst)


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_answers_equal_transformers(built: Built, batch: int) -> None:
    """Prompts and pictures of different sizes; padding must change nothing."""
    pictures = [[path] for path in built.pictures[:batch]]
    assert_equal(built, built.case.texts[:batch], pictures)


def test_two_pictures_in_one_request(built: Built) -> None:
    if not built.case.several:
        pytest.skip("this family takes one picture")
    assert_equal(built, built.case.texts[:2], [built.pictures[:2], built.pictures[1:]])


def test_texts_alone(built: Built) -> None:
    if not built.case.text_only:
        pytest.skip("this family needs a picture")
    assert_equal(built, built.case.texts[:2], [[], []])


@pytest.mark.parametrize("images", [1, 2])
def test_the_planners_sizes_are_what_is_inserted(built: Built, images: int, tmp_path: Path) -> None:
    """Rows, share of the vision engine and states, for every picture size of the case."""
    from mmtrt.api import load_recipe

    case = built.case
    if images > 1 and not case.several:
        pytest.skip("this family takes one picture")
    for number, (width, height) in enumerate(case.seen):
        size = f"workload.image_size=[{height},{width}]"
        several = f"workload.images_per_request={images}"
        sizing = load_recipe(
            case.recipe or case.model, [f"variant={case.variant}", size, several]
        ).sizing
        picture = str(make_image(tmp_path / "p.png", seed=number, size=(width, height)))
        prompts = built.session.prompts(["what?"], images=images)
        prepared = built.session.prepare(prompts, [[picture] * images])
        request = built.session.engines.size_of(prepared.prompts, new_tokens=1, images=0)
        assert request.visual_features == sizing.features_per_request, (width, height)
        assert prepared.vision_items == sizing.vision_batch(1), (width, height)
        if sizing.visual_input == "cross_attention":
            assert prepared.encoder_len == sizing.encoder_tokens_per_request


@pytest.mark.parametrize("limit", ["vision", "max_batch_size", "rows", "max_seq_len"])
def test_every_limit_is_enforced(built: Built, limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from mmtrt.native.errors import NativeError

    engines, pictures = built.session.engines, [[path] for path in built.pictures[:2]]
    code = {"vision": "RUN202", "max_batch_size": "RUN201", "max_seq_len": "RUN204"}.get(limit)
    if limit == "vision":
        monkeypatch.setattr(engines, "vision_max_batch_size", 0)
    elif limit == "rows":
        across = "max_multimodal_len" not in (engines.encoder or engines.llm).limits
        name, code = (
            ("max_encoder_input_len", "RUN207") if across else ("max_multimodal_len", "RUN206")
        )
        monkeypatch.setattr(engines, "limits", replace(engines.limits, **{name: 3}))
    else:
        least = {"max_batch_size": 1, "max_seq_len": NEW_TOKENS}[limit]
        monkeypatch.setattr(engines, "limits", replace(engines.limits, **{limit: least}))
    with pytest.raises(NativeError) as caught:
        built.answer(built.case.texts[:2], pictures)
    assert code in {error.code for error in (caught.value, *caught.value.also)}


def test_the_recipes_facts_are_the_models(built: Built) -> None:
    """What the YAML states of the tiny variant equals what was made."""
    from mmtrt.api import load_recipe
    from mmtrt.native.safetensors_file import read_header

    case = built.case
    recipe = load_recipe(case.recipe or case.model, [f"variant={case.variant}"])
    facts = recipe.variant.facts
    assert recipe.variant.generate.model in (None, case.model)
    tensors = read_header(built.model_dir / "model.safetensors").values()
    assert facts.parameters == sum(prod(tensor.shape) for tensor in tensors)
    text = built.hf.config.get_text_config(decoder=True)
    names = {
        "hidden_size": ("hidden_size",),
        "vocab_size": ("vocab_size",),
        "num_hidden_layers": ("decoder_layers", "num_hidden_layers"),
        "num_attention_heads": ("decoder_attention_heads", "num_attention_heads"),
        "num_key_value_heads": ("num_key_value_heads", "num_attention_heads"),
        "intermediate_size": ("decoder_ffn_dim", "intermediate_size", "ffn_dim", "d_ff"),
        "max_position_embeddings": ("max_position_embeddings",),
    }
    for fact, places in names.items():
        found = next((v for place in places if (v := getattr(text, place, None))), None)
        stated = getattr(facts, fact)
        assert stated == found or (stated is None and fact == "max_position_embeddings"), fact
    config = built.hf.config
    vision = getattr(config, "vision_config", None) or getattr(config, "encoder", config)
    for fact in ("image_size", "patch_size"):
        stated, found = getattr(facts, fact), getattr(vision, fact, None)
        if stated is None or found is None or case.model == "fuyu":
            continue
        both = [stated] * 2 if isinstance(stated, int) else stated
        assert list(both) == (list(found) if isinstance(found, (list, tuple)) else [found] * 2)


def test_a_model_made_twice_is_the_same(built: Built, tmp_path: Path) -> None:
    from mmtrt.native.make_tiny import make_tiny

    make_tiny(built.case.model, tmp_path / "again", 0)
    assert files_of(tmp_path / "again") == files_of(built.model_dir)


@pytest.mark.parametrize("built", ["llava_next"], indirect=True)
def test_a_packed_language_model_is_close(built: Built, tmp_path: Path) -> None:
    """Number formats are the families' own business only in which modules they name."""
    from mmtrt.native.build_llm import build_llm
    from mmtrt.native.multimodal_session import MultimodalSession
    from mmtrt.native.quantize import quantize

    quantize(built.checkpoint, tmp_path / "c", format_="int4_wo", block_size=32)
    limits = built.session.engines.limits
    build_llm(tmp_path / "c/llm", tmp_path / "e/llm", engine="onnxruntime", limits=limits)
    (tmp_path / "e/vision").symlink_to(built.engines / "vision")
    packed = MultimodalSession(tmp_path / "e", built.model_dir)
    sessions = (built.session, packed)
    request = (built.case.texts[:1], [built.pictures[:1]])
    first, second = (
        session.answer(*request, max_new_tokens=1, keep_logits=True).generation.logits[0][0]
        for session in sessions
    )
    cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    assert 0.9 < cosine < 0.9999


def test_another_process_makes_the_same_model(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from mmtrt.native.make_tiny import make_tiny

    make_tiny("llava_next", tmp_path / "here", 7)
    flags = ("--family", "llava_next", "--seed", 7, "--output-dir", tmp_path / "there")
    finish(start_stage("make_tiny", *flags, PYTHONHASHSEED="7", OMP_NUM_THREADS="1"))
    assert files_of(tmp_path / "here") == files_of(tmp_path / "there")


def test_every_tiny_model_and_family_has_a_case() -> None:
    from mmtrt.native.families import FAMILIES
    from mmtrt.native.tiny import MODELS

    assert set(CASES) == set(MODELS)
    assert set(FAMILIES.values()) - {"llava"} == set(CASES) - {"blip2_t5"}
