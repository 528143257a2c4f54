"""Ask the engines one actual request and keep the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mmtrt.stages.base import Reproducible, Stage


@dataclass(frozen=True, kw_only=True)
class Run(Stage):
    """Run one request; its times are measured, so two runs never agree in every byte."""

    KIND: ClassVar[str] = "run"
    VERSION = 3
    PORTS: ClassVar[tuple[str, ...]] = ("engine", "model", "env", "hub")
    REPRODUCIBLE: ClassVar[Reproducible] = "no"
    MEASURES: ClassVar[bool] = True

    family: str
    engine: str
    tp: int = 1
    pp: int = 1
    session: str | None = None
    prompts: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    """Local paths or URLs. The content of a local file enters the key, its place does not."""
    video: str | None = None
    """Like ``images``."""
    video_frames: int | None = None
    audio: str | None = None
    """Like ``images``."""
    batch_size: int = 1
    max_new_tokens: int
    top_k: int | None
    """``None``, here and below: what the toolchain does by itself; see ``RunRequest``."""
    top_p: float | None
    temperature: float | None
    repetition_penalty: float | None
    seed: int
    enable_chunked_context: bool = False
    mm_embedding_offloading: bool | None = None
    kv_cache_free_gpu_memory_fraction: float | None = None
    enable_chunked_prefill: bool = False
    run_profiling: bool = False
    check_accuracy: bool = False
