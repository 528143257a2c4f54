"""Take one commit of a git repository, without its history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mmtrt.stages.base import Stage


@dataclass(frozen=True, kw_only=True)
class Clone(Stage):
    """Bring code in that stands beside a model, or the toolchain's example scripts."""

    KIND: ClassVar[str] = "clone"

    url: str
    revision: str
    """Commit hash, or a tag; a branch moves."""
    include: tuple[str, ...] = ()
    """Directories to take; empty takes all."""
