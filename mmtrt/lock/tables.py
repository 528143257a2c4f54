"""The content of a lock: for each recipe what it asks for, and tables of what that stands for."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, TypeAlias

from mmtrt import __version__
from mmtrt.artifacts.keys import canonical
from mmtrt.plan.keys import KEY_VERSION
from mmtrt.redaction import FORMS
from mmtrt.stages import Clone, Download, Env


@dataclass(frozen=True, kw_only=True)
class LockedFile:
    """One file of a download."""

    name: str
    size: int
    """Bytes."""
    digest: str
    """``sha256:`` of the content, ``git-sha1:`` of the git object, or ``blake3:`` of the content,
    whichever the hub or the store knows."""


@dataclass(frozen=True, kw_only=True)
class LockedDownload:
    """What a hub's repository at a revision stands for, and the files that are taken of it."""

    commit: str
    include: list[str] = field(default_factory=list)
    exclude: list[str] = field(default_factory=list)
    files: list[LockedFile] = field(default_factory=list)
    """Empty where nobody could tell; the commit alone counts then."""


@dataclass(frozen=True, kw_only=True)
class LockedClone:
    """What a git repository at a tag or branch stands for."""

    commit: str


@dataclass(frozen=True, kw_only=True)
class LockedEnvironment:
    """What requirements come to."""

    requirements: list[str] = field(default_factory=list)
    """As the recipe says them."""
    packages: list[str] = field(default_factory=list)
    """Lines of ``requirements.lock``; none where the host has all that is asked for."""


Row: TypeAlias = LockedDownload | LockedClone | LockedEnvironment
Fetching: TypeAlias = Download | Clone | Env
Table: TypeAlias = dict[str, list[str]]
"""Name -> every value that the locked choices came to."""


@dataclass(frozen=True, kw_only=True)
class LockedRecipe:
    """What was locked of one recipe and variant, all its choices together."""

    choices: list[str] = field(default_factory=list)
    """Overrides as lines of shell words, so that ``mmtrt lock`` can make them anew. Never compared.

    A choice that asks for nothing new is not kept: a sweep is locked like its first point.
    """
    backend: str | None = None
    """What ``backend=auto`` came to; ``None`` where every choice names one."""
    engine: Table = field(default_factory=dict)
    """Backend -> what ``engine=auto`` came to; the first that can do what is asked counts."""
    gpu: list[str] = field(default_factory=list)
    """What the engines are tied to: a GPU class, or ``portable``."""
    tools: Table = field(default_factory=dict)
    """Versions that enter keys."""
    patches: Table = field(default_factory=dict)
    """Stage -> digest of its edits."""
    local: Table = field(default_factory=dict)
    """Stage -> digest of the user's own model."""
    downloads: Table = field(default_factory=dict)
    """Stage -> row of the table of that name; likewise the next two."""
    clones: Table = field(default_factory=dict)
    environments: Table = field(default_factory=dict)

    def values(self, table: str) -> list[str]:
        """Return every value of a table, each once."""
        return list(dict.fromkeys(chain.from_iterable(getattr(self, table).values())))

    def lines(self) -> list[tuple[str, list[str]]]:
        """Return each choice as a line and as words."""
        return [(line, shlex.split(line)) for line in self.choices]


TABLES = ("engine", "tools", "patches", "local", "downloads", "clones", "environments")
"""Fields of :class:`LockedRecipe` that hold values by name."""


@dataclass(frozen=True, kw_only=True)
class Lock:
    """All that a lock file holds; the tables are shared by every recipe that names their rows."""

    mmtrt: str = __version__
    """Version that wrote it."""
    key_schema: int = KEY_VERSION
    recipes: dict[str, LockedRecipe] = field(default_factory=dict)
    """By ``recipe/variant``."""
    downloads: dict[str, LockedDownload] = field(default_factory=dict)
    clones: dict[str, LockedClone] = field(default_factory=dict)
    environments: dict[str, LockedEnvironment] = field(default_factory=dict)

    def rows(self, table: str) -> dict[str, Any]:
        """Return the table of downloads, clones or environments."""
        found: dict[str, Any] = getattr(self, table)
        return found

    def only(self, names: Iterable[str]) -> Lock:
        """Return the lock of some recipes, without rows that none of them names."""
        recipes = {name: self.recipes[name] for name in names if name in self.recipes}
        kept: dict[str, Any] = {}
        for table in ROW_TABLES:
            named = {row for recipe in recipes.values() for row in recipe.values(table)}
            kept[table] = {key: row for key, row in self.rows(table).items() if key in named}
        return replace(self, recipes=recipes, **kept)


ROW_TABLES = ("downloads", "clones", "environments")


def table_of(stage: Fetching) -> str:
    """Return the table that has the rows of a stage."""
    if isinstance(stage, Download):
        return "downloads"
    return "clones" if isinstance(stage, Clone) else "environments"


def name_of(stage: Fetching, toolchain: str) -> str:
    """Return the name of the row that a stage asks for.

    Args:
        stage: with moving names, as the recipe says them.
        toolchain: its version; requirements may stand in a file of its example scripts.
    """
    # A lock is kept with the code: no credential of a URL goes into it.
    if isinstance(stage, Clone):
        return f"{FORMS.text(stage.url)}@{stage.revision}"
    if isinstance(stage, Env):
        asked = FORMS.tree(list(stage.requirements))
        return f"env-{_digest([toolchain, asked])}"
    chosen = [list(stage.include), list(stage.exclude)]
    suffix = f"#{_digest(chosen)}" if any(chosen) else ""
    return f"{stage.repo_id}@{stage.revision}{suffix}"


def joined(old: LockedRecipe | None, new: LockedRecipe) -> LockedRecipe:
    """Return what two choices of a recipe ask for together; ``choices`` stay the first's."""
    if old is None:
        return new
    tables: dict[str, Any] = {}
    for table in TABLES:
        ours, theirs = getattr(old, table), getattr(new, table)
        names = [*ours, *(name for name in theirs if name not in ours)]
        tables[table] = {name: _union(ours.get(name, []), theirs.get(name, [])) for name in names}
    return replace(old, backend=old.backend or new.backend, gpu=_union(old.gpu, new.gpu), **tables)


def _union(one: Sequence[str], other: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([*one, *other]))


def _digest(value: Any) -> str:
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:12]
