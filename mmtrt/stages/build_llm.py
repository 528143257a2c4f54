"""Build the language model's engine for the limits it must serve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mmtrt.stages.base import Reproducible, Stage


@dataclass(frozen=True, kw_only=True)
class BuildLlm(Stage):
    """Compile one engine per rank; ``None`` leaves a limit to the tool's default."""

    KIND: ClassVar[str] = "build_llm"
    VERSION = 2
    PORTS: ClassVar[tuple[str, ...]] = ("checkpoint",)
    REPRODUCIBLE: ClassVar[Reproducible] = "semantic"
    IS_ENGINE: ClassVar[bool] = True

    family: str
    engine: str
    dtype: str
    part: str = "decoder_only"
    """``encoder`` and ``decoder`` of one model are two engines with other limits."""
    tp: int = 1
    pp: int = 1
    max_batch_size: int
    max_input_len: int | None
    max_seq_len: int | None
    max_num_tokens: int | None = None
    max_multimodal_len: int | None = None
    max_encoder_input_len: int | None = None
