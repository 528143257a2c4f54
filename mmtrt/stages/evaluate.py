"""Ask the engines the questions of a data set and count right answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mmtrt.stages.base import Reproducible, Stage


@dataclass(frozen=True, kw_only=True)
class Eval(Stage):
    """Write ``scores.json``; whether the threshold was reached stands in it."""

    KIND: ClassVar[str] = "eval"
    VERSION = 2
    PORTS: ClassVar[tuple[str, ...]] = ("engine", "model", "env", "dataset", "hub")
    REPRODUCIBLE: ClassVar[Reproducible] = "semantic"

    family: str
    engine: str
    tp: int = 1
    pp: int = 1
    session: str | None = None
    task: str | None = None
    dataset_dir: str | None = None
    """The content of a local data set enters the key, its place does not."""
    max_ite: int = 20
    batch_size: int = 1
    """Questions in one call of the engines."""
    accuracy_threshold: float | None = None
    """Per cent."""
    test_trtllm: bool = True
    test_hf: bool = False
    max_new_tokens: int | None = None
    enable_chunked_context: bool = False
    mm_embedding_offloading: bool | None = None
    kv_cache_free_gpu_memory_fraction: float | None = None
