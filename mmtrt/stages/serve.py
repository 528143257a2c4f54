"""Start a server, wait until it is ready, ask it once, and stop it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mmtrt.stages.base import Reproducible, Stage


@dataclass(frozen=True, kw_only=True)
class Serve(Stage):
    """Show that the model can be served; with ``hold`` the server stays until Ctrl-C."""

    KIND: ClassVar[str] = "serve"
    PORTS: ClassVar[tuple[str, ...]] = ("model", "options", "env")
    REPRODUCIBLE: ClassVar[Reproducible] = "no"
    RERUNS: ClassVar[bool] = True

    family: str
    tp: int = 1
    pp: int = 1
    max_batch_size: int
    port: int = 8000
    ready_timeout_s: float = 600.0
    hold: bool = False
    prompts: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    max_new_tokens: int
