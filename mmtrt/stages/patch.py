"""Change lines of a model's own code on a copy, after checking what was there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mmtrt.stages.base import Stage


@dataclass(frozen=True)
class Edit:
    """Replace ``before``, which must occur exactly once in ``file``, by ``after``."""

    file: str
    before: str
    after: str
    before_sha256: str | None = None
    after_sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class Patch(Stage):
    """Apply context-checked edits; a file that looks otherwise is refused."""

    KIND: ClassVar[str] = "patch"
    PORTS: ClassVar[tuple[str, ...]] = ("model",)
    PASSES: ClassVar[str | None] = "model"

    edits: tuple[Edit, ...] = ()
