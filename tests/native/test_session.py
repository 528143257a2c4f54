from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmtrt.native.multimodal_session import MultimodalSession
from mmtrt.native.session import EngineSession
from tests.native import tiny_llava
from tests.native.eager import eager_engines
from tests.native.reference import Reference
from tests.native.tiny_llava import PROMPTS

NEW_TOKENS = 12
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def session(engines: Path, tiny_model: Path) -> MultimodalSession:
    return MultimodalSession(engines, tiny_model)


@pytest.fixture(scope="module")
def hf(tiny_model: Path) -> Reference:
    return Reference(tiny_model)


def assert_same(answers: Any, hf: Reference, images: Sequence[Sequence[Path]]) -> None:
    """Compare tokens exactly and logits closely with what transformers answers to ``PROMPTS``."""
    from PIL import Image

    shown = [[Image.open(path) for path in paths] for paths in images]
    tokens, logits = hf.generate(PROMPTS[: len(images)], shown, new_tokens=NEW_TOKENS)
    assert len({token for row in tokens for token in row}) > 5, "too uniform to show anything"
    ours = np.stack(answers.generation.logits)
    for row, answer in enumerate(answers.answers):
        assert answer.token_ids == tokens[row]
        assert answer.finish_reason == ("eos" if answer.token_ids[-1] == 2 else "length")
        found = ours[: len(tokens[row]), row]
        np.testing.assert_allclose(found, logits[row], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_answers_equal_transformers(
    session: MultimodalSession, hf: Reference, images: list[Path], batch: int
) -> None:
    texts = list(PROMPTS[:batch])
    prompts = session.prompts(texts, images=1)
    paths = [[str(path)] for path in images[:batch]]
    lengths = {len(ids) for ids in session.prepare(prompts, paths).prompts}
    assert len(lengths) == batch, "lengths must differ"
    answers = session.answer(texts, paths, max_new_tokens=NEW_TOKENS, keep_logits=True)
    assert_same(answers, hf, [[path] for path in images[:batch]])


def test_texts_without_images_equal_transformers(session: MultimodalSession, hf: Reference) -> None:
    prompts = session.prompts(PROMPTS, images=0)
    assert prompts[0] == f"USER: {PROMPTS[0]} ASSISTANT:"
    answers = session.answer(PROMPTS, max_new_tokens=NEW_TOKENS, keep_logits=True)
    assert_same(answers, hf, [[] for _ in PROMPTS])


def test_ids_equal_the_processor(
    session: MultimodalSession, tiny_model: Path, images: list[Path]
) -> None:
    from PIL import Image
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(tiny_model)
    prompt = session.prompts(["hé <s> llo"], images=1)[0]
    theirs = processor(text=prompt, images=Image.open(images[0]))["input_ids"][0]
    vocab_size = session.engines.llm.vocab_size
    (ids,) = session.prepare([prompt], [[str(images[0])]]).prompts
    ours = [3 if id_ >= vocab_size else id_ for id_ in ids]
    assert ours == list(theirs)


def test_a_batch_answers_as_its_requests_alone(
    session: MultimodalSession, images: list[Path]
) -> None:
    paths = [[str(path)] for path in images]
    together = session.answer(PROMPTS, paths, max_new_tokens=6)
    for index, answer in enumerate(together.answers):
        alone = session.answer([PROMPTS[index]], [paths[index]], max_new_tokens=6)
        assert alone.answers[0] == answer


def test_prefill_and_decode_are_the_steps_of_generate(engines: Path) -> None:
    session = EngineSession(engines)
    prompts = [[1, 40, 41, 42], [1, 50]]
    generation = session.generate(prompts, max_new_tokens=4, keep_logits=True)
    logits = session.prefill(prompts)
    np.testing.assert_array_equal(logits, generation.logits[0])
    logits = session.decode(logits.argmax(-1).tolist())
    np.testing.assert_array_equal(logits, generation.logits[1])


def test_generation_stops_at_any_of_several_end_tokens(engines: Path) -> None:
    session = EngineSession(engines)
    prompts = [[1, 40, 41, 42]]
    free = session.generate(prompts, max_new_tokens=8).token_ids[0]
    third = next(token for token in free if free.index(token) >= 2)
    special = replace(session.llm.special_tokens, eos=(2, third))
    session.llm = replace(session.llm, special_tokens=special)
    stopped = session.generate(prompts, max_new_tokens=8)
    assert stopped.token_ids == [free[: free.index(third) + 1]]
    assert stopped.finish_reasons == ["eos"]
    assert len(stopped.decode_ms) == free.index(third)


def test_the_cache_refuses_a_token_beyond_its_end(engines: Path) -> None:
    from mmtrt.native.errors import NativeError

    session = EngineSession(engines)
    length = session.limits.max_input_len
    session.prefill([[1] * length])
    for _ in range(session.limits.max_seq_len - length):
        session.decode([5])
    with pytest.raises(NativeError, match="max_seq_len is 80"):
        session.decode([5])


def test_engines_of_different_models_are_refused(
    engines: Path, tiny_model: Path, tmp_path: Path
) -> None:
    import json

    from mmtrt.native.errors import NativeError

    for name in ("llm", "vision"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.onnx").symlink_to(engines / name / "model.onnx")
        config = json.loads((engines / name / "config.json").read_text())
        config["num_visual_features"] += name == "llm"
        (tmp_path / name / "config.json").write_text(json.dumps(config))
    with pytest.raises(NativeError, match="num_visual_features is 10 in llm/ and 9 in vision/"):
        MultimodalSession(tmp_path, tiny_model)


@pytest.mark.parametrize(
    "variant",
    [
        {"text_type": "qwen2", "tied": True, "strategy": "full", "layer": [-1, -2]},
        {"text_type": "qwen2", "tower": "siglip", "strategy": "full", "layer": -1},
        {"text_type": "mistral", "strategy": "full", "layer": [-1, -2]},
    ],
    ids=["qwen2", "siglip", "mistral"],
)
def test_other_variants_equal_transformers(
    tmp_path: Path, images: list[Path], variant: dict[str, Any]
) -> None:
    """Qwen2 has biases; a tied head is not stored; ``full`` keeps the class row; two layers."""
    from mmtrt.native.build_llm import build_llm
    from mmtrt.native.build_vision import build_vision
    from mmtrt.native.convert import convert
    from mmtrt.native.limits import LlmLimits

    model = tmp_path / "model"
    tiny_llava.make_model(model, **variant)
    with eager_engines():
        convert(model, tmp_path / "checkpoint", "auto")
        limits = LlmLimits(
            max_batch_size=2,
            max_input_len=60,
            max_seq_len=80,
            max_num_tokens=120,
            max_multimodal_len=2 * (tiny_llava.ROWS + 1),
        )
        engines = tmp_path / "engines"
        build = {"engine": "onnxruntime"}
        build_llm(tmp_path / "checkpoint/llm", engines / "llm", limits=limits, **build)
        build_vision(tmp_path / "checkpoint/vision", engines / "vision", max_batch_size=2, **build)
        session = MultimodalSession(engines, model)
    paths = [[str(path)] for path in images[:2]]
    answers = session.answer(PROMPTS[:2], paths, max_new_tokens=NEW_TOKENS, keep_logits=True)
    assert_same(answers, Reference(model), [[path] for path in images[:2]])
