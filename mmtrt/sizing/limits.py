"""The limits of the engines, each with the place it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Source = Literal["recipe", "override", "derived"]

LIMIT_NAMES = (
    "max_batch_size",
    "max_input_len",
    "max_seq_len",
    "max_num_tokens",
    "max_multimodal_len",
    "max_encoder_input_len",
    "vision.max_batch_size",
)
"""Every limit, in the order in which people meet them; the names are the override keys."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit: its value, who chose it, and the sum that gives it."""

    value: int | None
    """``None``: not stated, so the tool's own default applies."""
    source: Source
    because: str

    def to_json(self) -> dict[str, int | str | None]:
        """Return the shape that ``mmtrt plan --json`` promises."""
        return {"value": self.value, "source": self.source, "because": self.because}


@dataclass(frozen=True, slots=True)
class Limits(Mapping[str, Limit]):
    """All limits of one recipe, by name."""

    by_name: dict[str, Limit]

    def __getitem__(self, name: str) -> Limit:
        return self.by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_name)

    def __len__(self) -> int:
        return len(self.by_name)

    def value(self, name: str) -> int | None:
        """Return the number of a limit, ``None`` where it is not stated."""
        return self.by_name[name].value

    def required(self, name: str) -> int:
        """Return the number of a limit that is always stated."""
        value = self.by_name[name].value
        if value is None:
            raise KeyError(name)
        return value
