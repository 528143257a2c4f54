"""Answers follow a checkpoint's own ``generation_config.json``, as ``generate`` of transformers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.native.eager import eager_engines
from tests.native.families import CASES, NEW_TOKENS, TEXTS, Built

SETTINGS: dict[str, dict[str, Any]] = {
    # What published models ship; sampling is left out, as it is by do_sample=False.
    "penalties": {"repetition_penalty": 1.3, "do_sample": True, "temperature": 0.1, "top_k": 1},
    "prompt": {
        "no_repeat_ngram_size": 2,
        "encoder_no_repeat_ngram_size": 3,
        "encoder_repetition_penalty": 1.8,
        "renormalize_logits": True,
    },
    "lengths": {
        "min_new_tokens": 6,
        "min_length": 40,
        "exponential_decay_length_penalty": [2, 1.5],
        "forced_eos_token_id": 2,
        "forced_bos_token_id": 9,
        "begin_suppress_tokens": [9, 10, 11],
        "watermarking_config": {"bias": 4.0, "greenlist_ratio": 0.5},
    },
}
"""``words`` below depend on what a model says."""
UNHEEDED = ("kosmos2", "blip2_t5")
"""Their ``generate`` asks a part of the model, which has no such file."""
FAMILIES = ("llava", "qwen2_vl", "nougat", *UNHEEDED)


@pytest.fixture(scope="module")
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Built]:
    pytest.importorskip("transformers")
    with eager_engines():
        yield Built(CASES[request.param], tmp_path_factory.mktemp(request.param), "eager")


def answered(built: Built, settings: dict[str, Any], directory: Path) -> tuple[Any, Any]:
    """Return the answers of the engines and of transformers to a batch of unequal prompts."""
    from transformers import GenerationConfig

    from mmtrt.native.multimodal_session import MultimodalSession

    shutil.copytree(built.model_dir, directory, ignore=shutil.ignore_patterns("*.safetensors"))
    path = directory / "generation_config.json"
    before = json.loads((built.model_dir / path.name).read_text())
    path.unlink()
    path.write_text(json.dumps({**before, **settings}))
    texts, pictures = TEXTS[:2], [[path] for path in built.pictures[:2]]
    session = MultimodalSession(built.engines, directory)
    ours = session.answer(texts, pictures, max_new_tokens=NEW_TOKENS)
    built.reference.model.generation_config = GenerationConfig.from_pretrained(directory)
    # Some settings see the padding.
    theirs, _ = built.expected(texts, pictures, together=True)
    return [answer.token_ids for answer in ours.answers], theirs


@pytest.mark.parametrize("built", FAMILIES, indirect=True)
def test_greedy_answers_are_those_of_generate(built: Built, tmp_path: Path) -> None:
    plain, _ = answered(built, {}, tmp_path / "plain")
    first, second = max(plain, key=len)[:2]
    words = {
        "bad_words_ids": [[second], [first, second], [second, second]],
        "suppress_tokens": [first],
        "sequence_bias": [[[second], -3.0], [[first, second], 2.0]],
    }
    changed = 0
    for name, settings in {**SETTINGS, "words": words}.items():
        ours, theirs = answered(built, settings, tmp_path / name)
        for mine, whole in zip(ours, theirs):
            assert mine == whole[: len(mine)], name
        changed += ours != plain
    assert changed == 0 if built.case.model in UNHEEDED else changed > 1
