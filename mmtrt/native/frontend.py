"""Between people and engines: texts and pictures in, tensors out; features in, a prompt table out.

The part that all families share; knows no image processor and no tokenizer. Works in numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from mmtrt.native.errors import NativeError
from mmtrt.native.sound_file import Sound
from mmtrt.native.steps import Feed
from mmtrt.native.video_file import Video


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A batch as the engines take it, before any of them has run."""

    prompts: list[list[int]]
    """Ids of each request, unpadded; ``vocab_size + row`` stands for a row of the prompt table."""
    pixels: Mapping[str, Any] = field(default_factory=dict)
    """Inputs of the vision engine for all pictures of the batch; empty without pictures."""
    vision_items: int = 0
    """What counts against ``vision.max_batch_size``: pictures, tiles, or shares of patch rows."""
    sounds: Sequence[Mapping[str, Any]] = ()
    """Inputs of the audio engine, one call each."""
    encoder_len: int = 0
    """Rows that one request attends to across; 0 where there is a prompt table."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """What the family must remember until the features are there."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """How the language model begins."""

    prompts: list[list[int]]
    table: Any = None
    """float32 ``[P, H]``; ``None`` where no id addresses it."""
    feed: Feed | None = None
    """Inputs beside the common ones; plain positions where ``None``."""


class Engines(Protocol):
    """What a frontend may ask of the engines."""

    def encode_prompts(self, prompts: Sequence[Sequence[int]], table: Any) -> tuple[Any, Any]:
        """Return float32 states ``[B, S, H]`` and their bool mask ``[B, S]``."""
        ...


class Frontend(Protocol):
    """One family's way from a request to the engines, in the order in which it is asked."""

    def prompt(self, text: str, images: int) -> str:
        """Return the text as the model was trained to read it.

        A text that holds the image placeholder is the user's own prompt and comes back as it is.

        Raises:
            NativeError: RUN212, if it holds more or fewer placeholders than it has images.
        """
        ...

    def prepare(self, prompts: Sequence[str], pictures: Sequence[Sequence[Any]]) -> Prepared:
        """Return a batch of prompts, each with its PIL images, as tensors.

        Raises:
            NativeError: RUN212, RUN214 or RUN216, if the model cannot take them.
        """
        ...

    def start(
        self, prepared: Prepared, features: Mapping[str, Any] | None, engines: Engines
    ) -> Start:
        """Return how the language model begins.

        ``features`` are the vision engine's outputs by name; with ``prepared.sounds`` also
        ``sounds``: the audio engine's, by name, for each of them.
        """
        ...

    def decode(self, ids: list[int]) -> str:
        """Return the text of an answer, without special tokens and surrounding blanks."""
        ...


@runtime_checkable
class TakesVideos(Frontend, Protocol):
    """A family whose requests may show one video in the place of pictures."""

    def video_prompt(self, text: str) -> str:
        """Return the text of a request that shows one video; as ``prompt`` otherwise.

        Raises:
            NativeError: RUN212, if it holds other placeholders than one of a video.
        """
        ...

    def prepare_videos(self, prompts: Sequence[str], videos: Sequence[Video]) -> Prepared:
        """Return a batch of prompts, each with its video, as tensors.

        Raises:
            NativeError: RUN214 or RUN216, if the model cannot take them.
        """
        ...


@runtime_checkable
class TakesSounds(Frontend, Protocol):
    """A family whose requests may hold one sound, beside pictures or without."""

    @property
    def sampling_rate(self) -> int:
        """Samples a second of a sound."""
        ...

    def sound_prompt(self, text: str, images: int) -> str:
        """Return the text of a request with a sound and so many images; as ``prompt`` otherwise.

        Raises:
            NativeError: RUN212, if it holds other placeholders than those.
        """
        ...

    def prepare_sounds(
        self, prompts: Sequence[str], pictures: Sequence[Sequence[Any]], sounds: Sequence[Sound]
    ) -> Prepared:
        """Return a batch of prompts, each with its PIL images and its sound, as tensors.

        Raises:
            NativeError: RUN214 or RUN216, if the model cannot take them.
        """
        ...


def check_placeholders(prompt: str, placeholder: str, shown: int, what: str = "image") -> None:
    """Refuse a prompt whose placeholders and images, or videos, do not pair up.

    Raises:
        NativeError: RUN212.
    """
    count = prompt.count(placeholder)
    if count != shown:
        raise NativeError(
            f"a text holds {count} times {placeholder} and has {shown} {what}s",
            code="RUN212",
            why=f"each placeholder stands for one {what} of its request",
            fix=f"write {placeholder} {shown} times, or leave it out: it is then put in its place",
        )


def address_rows(
    ids: Sequence[int], token: int | None, first_row: int, vocab_size: int
) -> list[int]:
    """Return ids with every ``token`` replaced by ``vocab_size`` + its row, counted from a first.

    Raises:
        NativeError: RUN214, if another id is beyond the vocabulary.
    """
    row = first_row
    addressed = []
    for id_ in ids:
        if id_ == token:
            addressed.append(vocab_size + row)
            row += 1
            continue
        if id_ >= vocab_size:
            raise NativeError(
                f"the tokenizer gives id {id_}, the engine's vocab_size is {vocab_size}",
                code="RUN214",
                why="it would be taken for a visual feature",
                fix="give --model-dir the model that the engines were built from",
            )
        addressed.append(id_)
    return addressed
