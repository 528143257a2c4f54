"""The samples that a format is calibrated with: a directory of texts, and pictures beside them.

A set is a directory that holds one or more of these, read in this order:

* ``labels.json``: picture -> question -> answer, as the pictures that ship with mmtrt have it
* ``*.jsonl``: one object a line, with ``text``, and ``images`` and ``answer`` where there are any
* ``*.txt``: one text a line

Pictures are named by their path below the directory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmtrt.native.errors import NativeError
from mmtrt.native.json_file import read_json

LABELS_FILE = "labels.json"

_MAX_CHARACTERS = 2000
"""Of a text. *Chosen*: about the 512 tokens that TensorRT-LLM's quantize.py cuts texts to."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One request, and the answer that is to follow it."""

    text: str
    answer: str = ""
    images: tuple[Path, ...] = ()


def read_samples(directory: Path, count: int) -> list[Sample]:
    """Return at most ``count`` samples, spread evenly over the set, in its order.

    Raises:
        NativeError: QNT202, if there are none, or one cannot be read.
    """
    if not directory.is_dir():
        raise NativeError(f"{directory}: no such directory (calibration set)", code="QNT202")
    samples = [*_labelled(directory), *_lines(directory)]
    if not samples:
        raise NativeError(
            f"{directory}: holds no calibration samples",
            code="QNT202",
            fix=f"put {LABELS_FILE}, a .jsonl or a .txt file there",
        )
    count = min(count, len(samples))
    return [samples[index * len(samples) // count] for index in range(count)]


def _labelled(directory: Path) -> Iterator[Sample]:
    if not (directory / LABELS_FILE).is_file():
        return
    pictures = read_json(directory / LABELS_FILE, code="QNT202", what="a calibration set")
    for picture, questions in sorted(pictures.items()):
        if not isinstance(questions, dict):
            raise _unreadable(directory / LABELS_FILE, f"{picture} has no questions")
        for question, answer in sorted(questions.items()):
            yield Sample(text=question, answer=str(answer), images=(directory / picture,))


def _lines(directory: Path) -> Iterator[Sample]:
    for path in sorted(directory.glob("*.jsonl")):
        for number, line in _numbered(path):
            try:
                yield _sample(directory, json.loads(line))
            except (ValueError, TypeError, KeyError) as error:
                raise _unreadable(path, f"line {number}: {error!r}") from error
    for path in sorted(directory.glob("*.txt")):
        yield from (Sample(text=line[:_MAX_CHARACTERS]) for _, line in _numbered(path))


def _numbered(path: Path) -> Iterator[tuple[int, str]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, str(error)) from error
    return ((number, line) for number, line in enumerate(lines, 1) if line.strip())


def _sample(directory: Path, document: dict[str, Any]) -> Sample:
    images = document.get("images", [])
    return Sample(
        text=str(document["text"])[:_MAX_CHARACTERS],
        answer=str(document.get("answer", "")),
        images=tuple(
            directory / name for name in ([images] if isinstance(images, str) else images)
        ),
    )


def _unreadable(path: Path, why: str) -> NativeError:
    return NativeError(f"{path}: not a calibration set: {why}", code="QNT202")
