"""How many weights a checkpoint has, and how much of it is what: from the headers of its files.

No weight is read: a safetensors file begins with a table of its tensors.

Source: github.com/huggingface/safetensors README, "Format" (8 bytes of header length, little
endian; JSON of at most 100 MB; the bytes of the tensors).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 100_000_000

_ENCODER_WORDS = (
    *("vision", "visual", "vit.", "image", "img_", "audio", "encoder.embeddings"),
    *("projector", "project", "connector", "merger", "qformer", "query_tokens", "mlp1."),
)
"""Parts of the names of tensors that belong to an encoder of pictures or sound, or lead from it.

Source: the checkpoints of the recipes' variants, as transformers 5.23 names them.
"""

_TOKEN_WORDS = ("embed", "lm_head", "wte", "shared.", "output.weight")
"""Parts of the names of the language model's token embeddings and head, which stay as they are when
the others are quantized."""


@dataclass(frozen=True, slots=True)
class Weights:
    """What is known of a checkpoint's weights."""

    parameters: int
    stored_bytes: int
    because: str
    """Where the count comes from."""
    encoder: int | None = None
    """Of the parameters, those of the encoders and projectors; ``None``: not known apart."""
    linear: int | None = None
    """Of the parameters, those of the language model's linear layers, which formats quantize."""

    @property
    def language(self) -> int:
        """The language model's parameters; all where they are not known apart."""
        return self.parameters - (self.encoder or 0)


WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"


def chosen_file(names: Collection[str], config: Mapping[str, Any] | None = None) -> str | None:
    """Return the one file, or index of several, that transformers loads a model from.

    A directory may hold more than one set of weights; ``None`` where there is no safetensors file
    of a name that transformers knows.

    Args:
        names: of the files in the model's directory.
        config: its ``config.json``, which may name the file itself.

    Source: transformers 5.23, ``modeling_utils._get_resolved_checkpoint_files``.
    """
    named = (config or {}).get("transformers_weights")
    if isinstance(named, str):
        return named if named in names else None
    return next((name for name in (WHOLE, INDEX) if name in names), None)


def chosen_files(directory: Path, names: Collection[str] | None = None) -> tuple[str, ...]:
    """Return the names of the safetensors files that transformers loads; all without a choice.

    Args:
        directory: of the model.
        names: of its files, where only some of them count.

    Raises:
        OSError: if there is no such directory.
    """
    names = {entry.name for entry in os.scandir(directory)} if names is None else names
    chosen = chosen_file(names, _json(directory / "config.json"))
    if chosen is not None and chosen.endswith(".json"):
        places = _json(directory / chosen).get("weight_map")
        shards = set(places.values()) if isinstance(places, dict) else set()
        return tuple(sorted(str(name) for name in shards))
    if chosen is not None:
        return (chosen,)
    return tuple(sorted(name for name in names if name.endswith(".safetensors")))


def _json(path: Path) -> dict[str, Any]:
    """Return a JSON object; empty for anything else."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def stored_weights(directory: Path) -> Weights | None:
    """Return what the headers of the safetensors files say that are loaded; ``None`` without any.

    A file that is no safetensors file, or cut short, gives ``None`` too: the stage that reads it
    tells what is wrong.
    """
    try:
        paths = [directory / name for name in chosen_files(directory)]
        files = tuple((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in paths)
        return _weights(files) if files else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


@lru_cache(maxsize=64)
def _weights(files: tuple[tuple[str, int, int], ...]) -> Weights:
    total = encoder = linear = stored = 0
    for path, _, _ in files:
        for name, entry in _tensors(path):
            shape, (begin, end) = entry["shape"], entry["data_offsets"]
            count = math.prod(shape)
            total, stored = total + count, stored + end - begin
            if any(word in name for word in _ENCODER_WORDS):
                encoder += count
            elif len(shape) == 2 and not any(word in name for word in _TOKEN_WORDS):
                linear += count
    because = f"headers of {len(files)} safetensors file{'s' * (len(files) > 1)}"
    return Weights(total, stored, because, encoder, linear)


def _tensors(path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    with open(path, "rb") as file:  # noqa: PTH123 - strings: one of each of many shards
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        if length > _MAX_HEADER_BYTES:
            raise ValueError(f"header of {length} bytes")
        header = json.loads(file.read(length))
    return ((name, entry) for name, entry in header.items() if name != "__metadata__")
