"""Fetch a model from a hub at a pinned revision, link a local directory, or make one.

A data set of drawn pictures is made the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mmtrt.stages.base import Stage


@dataclass(frozen=True, kw_only=True)
class Download(Stage):
    """Bring the model's files in; nothing is fetched that the recipe does not name."""

    KIND: ClassVar[str] = "download"

    repo_id: str | None = None
    revision: str | None = None
    """Commit hash. A branch or tag works but moves; rule MDL101 says so."""
    local_dir: str | None = None
    """Linked file by file, never copied. Its content enters the key, its place does not."""
    local_file: str | None = None
    """Likewise, for a model that is one file; it is called ``model`` and its own suffix."""
    include: tuple[str, ...] = ()
    """Glob patterns of the files to take; empty takes all."""
    exclude: tuple[str, ...] = ()
    generate: str | None = None
    """Name of a random model that is made here; like the seed it stands in the command."""
    seed: int = 0
    questions: str | None = None
    """Task of an evaluation whose data set is drawn here, in place of a model."""
    count: int = 0
    """How many questions."""
    expect: tuple[str, ...] = ()
    """``<algorithm>:<digest>=<name>`` of files that a lock knows; others are refused then."""
    hub_cache: bool = False
    """Whether the files are laid out as in the hub's cache; like the seed it stands in the
    command."""
    allow_pickle: bool = False
    """Whether weights that execute code on loading may be taken."""
