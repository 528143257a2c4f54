"""Where the store and the records of runs lie, for verbs that compose no recipe."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from mmtrt.errors import UsageError

DEFAULTS = {"store": "outputs/store", "runs": "outputs/runs"}
"""Those of ``recipes/config.yaml``; a test compares them."""
VARIABLES = {"store": "MMTRT_STORE", "runs": "MMTRT_RUNS"}


def place(what: Literal["store", "runs"], switch: str | None, overrides: Sequence[str]) -> Path:
    """Return a directory: the switch, else ``paths.<what>=``, else the variable, else the default.

    Args:
        what: which directory.
        switch: the value of ``--store`` or ``--runs``.
        overrides: words of the form ``key=value``; any ``paths.`` key is fine.

    Raises:
        UsageError: CFG002 for another override.
    """
    chosen = switch
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        if key not in ("paths.store", "paths.runs", "paths.remote"):
            near = difflib.get_close_matches(key, ("paths.store", "paths.runs"), 1, 0.4)
            raise UsageError(
                f"{key}= means nothing here: this verb composes no recipe",
                code="CFG002",
                at=f"override {override!r}",
                fix=f"{near[0] if near else f'paths.{what}'}=DIR",
            )
        if key == f"paths.{what}" and chosen is None:
            chosen = _unquoted(value)
    return Path(chosen or os.environ.get(VARIABLES[what]) or DEFAULTS[what])


def _unquoted(value: str) -> str:
    """Return a value of Hydra's grammar as text: quotes around the whole are not part of it."""
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1].replace("\\" + value[0], value[0])
    return value
