"""Rotary position embeddings of a language model: up to which length their rotations are constant.

An exported graph holds the rotations of each position as constants. That equals the model for every
``rope_type`` of transformers but two: ``dynamic`` and ``longrope`` choose other frequencies once a
sequence is longer than the model was trained on.

Source: transformers 5.23, ``modeling_rope_utils`` (``dynamic_rope_update``, ``longrope`` beyond
``original_max_position_embeddings``, ``dynamic`` beyond ``max_position_embeddings``, the
``_compute_*_parameters`` for the keys that they read without a default).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

REQUIRED_KEYS: Mapping[str, tuple[str, ...]] = {
    "default": (),
    "linear": ("factor",),
    "dynamic": ("factor",),
    "yarn": ("factor",),
    "longrope": ("short_factor", "long_factor"),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
    "proportional": (),
}
"""``rope_type`` that transformers knows -> keys without which it computes no frequencies."""

_OLD_NAMES: Mapping[str, Mapping[str, str]] = {
    "qwen2_vl": {"mrope": "default"},
    "qwen2_5_vl": {"mrope": "default"},
    "phi4_multimodal": {"su": "longrope", "yarn": "longrope"},
}
"""``model_type`` -> names of older files, as its own configuration class replaces them."""

_ORIGINAL_POSITIONS = {"phi4_multimodal": 4096}
"""``original_max_position_embeddings`` of configuration classes that have a default for it."""


@dataclass(frozen=True)
class Rotations:
    """The rotary embedding of all layers, or of one kind of layers."""

    rope_type: str
    lacks: tuple[str, ...]
    """Keys that its type needs and the configuration leaves out."""
    constant_len: int | None
    """Longest sequence with these rotations; ``None``: any length, or one that is not stated."""

    @property
    def is_known(self) -> bool:
        """Return whether transformers has this type."""
        return self.rope_type in REQUIRED_KEYS

    @property
    def depends_on_length(self) -> bool:
        """Return whether longer sequences are rotated otherwise."""
        return self.rope_type in ("dynamic", "longrope")


def rotations_of(
    text: Mapping[str, Any], model_type: str | None, max_positions: int | None = None
) -> Iterator[Rotations]:
    """Yield the rotary embeddings of a language model; none for one without.

    Args:
        text: the language model's part of ``config.json``, in the keys of any version:
            ``rope_parameters``, for all layers or by kind of layer, or ``rope_scaling``.
        model_type: of the whole model.
        max_positions: ``max_position_embeddings`` where ``text`` leaves it out.
    """
    positions = text.get("max_position_embeddings") or max_positions
    original = text.get("original_max_position_embeddings")
    if original is None and model_type is not None:
        original = _ORIGINAL_POSITIONS.get(model_type)
    for rope in _stated(text):
        name = rope.get("rope_type") or rope.get("type") or "default"
        name = _OLD_NAMES.get(model_type or "", {}).get(name, name)
        longest = None
        if name == "dynamic":
            longest = positions
        elif name == "longrope":
            longest = original or rope.get("original_max_position_embeddings") or positions
        lacks = tuple(key for key in REQUIRED_KEYS.get(name, ()) if key not in rope)
        yield Rotations(str(name), lacks, longest if isinstance(longest, int) else None)


def _stated(text: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield what is said of the layers; the older key wins where both are there."""
    whole = text.get("rope_scaling") or text.get("rope_parameters")
    if not isinstance(whole, Mapping):
        return
    by_kind = [each for each in whole.values() if isinstance(each, Mapping)]
    yield from by_kind or [whole]
