"""Build the vision encoder's engine for the largest batch of images it must serve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mmtrt.stages.base import Reproducible, Stage


@dataclass(frozen=True, kw_only=True)
class BuildVision(Stage):
    """Compile the vision encoder with its projector."""

    KIND: ClassVar[str] = "build_vision"
    VERSION = 2
    PORTS: ClassVar[tuple[str, ...]] = ("model", "checkpoint", "code", "env", "hub")
    REPRODUCIBLE: ClassVar[Reproducible] = "semantic"
    IS_ENGINE: ClassVar[bool] = True

    family: str
    engine: str
    dtype: str
    max_batch_size: int
    """Images, tiles, patches or frames, as the family counts them."""
    is_stated: bool = False
    """Whether the user or the recipe chose ``max_batch_size``; else the tool's default may do."""
