"""Quantize a checkpoint's weights, with calibration where the format needs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mmtrt.stages.base import Stage


@dataclass(frozen=True, kw_only=True)
class Quantize(Stage):
    """Write a checkpoint in another number format; skipped when ``format`` is none."""

    KIND: ClassVar[str] = "quantize"
    VERSION = 2
    PORTS: ClassVar[tuple[str, ...]] = ("model", "checkpoint", "env")
    PASSES: ClassVar[str | None] = "checkpoint"

    family: str
    format: str
    dtype: str
    block_size: int | None = None
    """Weights per scale; ``None`` where the tool has its own."""
    kv_cache_dtype: str | None = None
    calib_size: int | None = None
    calib_dataset: str | None = None
    tp: int = 1
    pp: int = 1
