"""Turn a Hugging Face model into one checkpoint per component, sharded per rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mmtrt.stages.base import Stage


@dataclass(frozen=True, kw_only=True)
class Convert(Stage):
    """Write ``config.json`` and ``rank<r>.safetensors`` for r < tp * pp."""

    KIND: ClassVar[str] = "convert"
    VERSION = 2
    PORTS: ClassVar[tuple[str, ...]] = ("model", "env", "hub")

    family: str
    dtype: str
    tp: int = 1
    pp: int = 1
    weight_only: str | None = None
    """``int8`` or ``int4`` where the toolchain quantizes while it converts."""
    model_flag: str = "model_dir"
    """The script's flag for its input."""
    side_outputs: tuple[str, ...] = ()
    """Files that the script leaves in its working directory, which is then the output itself."""
