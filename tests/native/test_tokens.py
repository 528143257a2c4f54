from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mmtrt.native.errors import NativeError
from mmtrt.native.tokens import PromptTokenizer

TEXTS = ("USER: <image>\nwhat colour? ASSISTANT:", "naïve <s> text</s>", "", "  blanks  ")


def tokenizer(directory: Path) -> PromptTokenizer:
    return PromptTokenizer(directory, image_token_id=3, placeholder="<image>")


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_model / name, tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "settings",
    [{}, {"add_bos_token": False}, {"add_bos_token": True, "add_eos_token": True}],
)
def test_ids_equal_transformers(model: Path, settings: dict) -> None:
    transformers = pytest.importorskip("transformers")
    path = model / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(model)
    ours = tokenizer(model)
    for text in TEXTS:
        assert ours.encode_text(text, rows=1) == theirs(text)["input_ids"]
        ids = theirs(text)["input_ids"]
        assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True).strip()


def test_visual_features_are_rows_after_the_vocabulary(model: Path) -> None:
    ids = tokenizer(model).encode("a<image>b", rows=3, vocab_size=1000, first_row=6)
    assert [id_ for id_ in ids if id_ >= 1000] == [1006, 1007, 1008]


def test_a_token_beyond_the_vocabulary_is_refused(model: Path) -> None:
    with pytest.raises(NativeError, match="gives id 279, the engine's vocab_size is 270"):
        tokenizer(model).encode("USER:", rows=1, vocab_size=270, first_row=0)


def test_another_models_tokenizer_is_refused(model: Path) -> None:
    with pytest.raises(NativeError, match="<image> is token 3, the engine was built with 7"):
        PromptTokenizer(model, image_token_id=7, placeholder="<image>")


@pytest.mark.parametrize("content", [None, "{}", "no json"])
def test_a_missing_or_damaged_tokenizer_is_refused(model: Path, content: str | None) -> None:
    (model / "tokenizer.json").unlink()
    if content is not None:
        (model / "tokenizer.json").write_text(content)
    with pytest.raises(NativeError, match="tokenizer") as caught:
        tokenizer(model)
    assert caught.value.code == "RUN214"
