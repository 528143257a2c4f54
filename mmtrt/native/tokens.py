"""Text to token ids and back, with the model's own ``tokenizer.json`` and without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmtrt.native.errors import NativeError


class PromptTokenizer:
    """A tokenizer that knows the image placeholder and the ids of visual features."""

    def __init__(self, model_dir: Path, *, image_token_id: int | None, placeholder: str) -> None:
        """Load the tokenizer of a model directory.

        Raises:
            NativeError: RUN214, if there is none, or its image token is not the engine's.
        """
        self._tokenizer = _load(model_dir)
        self._image_token_id = image_token_id
        self._placeholder = placeholder
        found = self._tokenizer.token_to_id(placeholder)
        if found != image_token_id:
            raise NativeError(
                f"{model_dir}: {placeholder} is token {found}, the engine was built with "
                f"{image_token_id}",
                code="RUN214",
                fix="give --model-dir the model that the engines were built from",
            )

    def encode(self, prompt: str, *, rows: int, vocab_size: int, first_row: int) -> list[int]:
        """Return a prompt's ids; visual features are ``vocab_size + row of the prompt table``.

        Args:
            prompt: text with one placeholder for each image.
            rows: visual features of one image.
            vocab_size: ids from here on are rows.
            first_row: row of the table where this prompt's features start.

        Raises:
            NativeError: RUN214, if the text has a token that the engine's vocabulary has not.
        """
        ids = self.encode_text(prompt, rows=rows)
        if max(ids, default=0) >= vocab_size:
            raise NativeError(
                f"the tokenizer gives id {max(ids)}, the engine's vocab_size is {vocab_size}",
                code="RUN214",
                why="it would be taken for a visual feature",
                fix="give --model-dir the model that the engines were built from",
            )
        table = iter(range(first_row, first_row + len(ids)))
        return [vocab_size + next(table) if id_ == self._image_token_id else id_ for id_ in ids]

    def encode_text(self, prompt: str, *, rows: int) -> list[int]:
        """Return the ids that the model's own processor gives: an image is its token, repeated."""
        expanded = prompt.replace(self._placeholder, self._placeholder * rows)
        return list(self._tokenizer.encode(expanded).ids)

    def decode(self, ids: list[int]) -> str:
        """Return the text of an answer, without special tokens and surrounding blanks."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=True)).strip()


def _load(model_dir: Path) -> Any:
    from tokenizers import Tokenizer

    path = model_dir / "tokenizer.json"
    if not path.is_file():
        raise NativeError(
            f"{path}: no such file",
            code="RUN214",
            why="the native runtime reads fast tokenizers only",
            fix="save the model's tokenizer with transformers: it then writes tokenizer.json",
        )
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers has no narrower class for a bad file
        raise NativeError(f"{path}: not a tokenizer: {error}", code="RUN214") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
