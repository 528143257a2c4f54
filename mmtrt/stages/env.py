"""Build a Python environment over this one, for stages that need other versions of packages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mmtrt.stages.base import Reproducible, Stage


@dataclass(frozen=True, kw_only=True)
class Env(Stage):
    """Resolve the requirements once and install what was resolved over the host's packages."""

    KIND: ClassVar[str] = "env"
    REPRODUCIBLE: ClassVar[Reproducible] = "semantic"

    requirements: tuple[str, ...] = ()
    """As pip writes them; ``{examples}/...`` names a requirements file of the toolchain, and
    ``; trtllm <1.2`` at the end the versions of the toolchain that need it."""
    pins: tuple[str, ...] | None = None
    """What a lock says the requirements come to; it stands in the command, which is keyed."""
