"""Write small text files that a tool reads, such as an options file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mmtrt.stages.base import Stage


@dataclass(frozen=True, kw_only=True)
class Write(Stage):
    """Write files whose text the recipe states."""

    KIND: ClassVar[str] = "write"

    files: tuple[tuple[str, str], ...] = ()
    """(name, text) of each file."""
