"""Lay the parts of an engine directory side by side, by link."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mmtrt.stages.base import Stage


@dataclass(frozen=True, kw_only=True)
class Assemble(Stage):
    """Make the directory that a runner expects: ``llm/``, ``vision/``, and so on."""

    KIND: ClassVar[str] = "assemble"
    PORTS: ClassVar[tuple[str, ...]] = ("llm", "vision")
