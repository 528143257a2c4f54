"""What a lock says of one variant of one recipe: pins that fit together."""

from __future__ import annotations

import dataclasses
import shlex
from dataclasses import dataclass, field
from typing import Any, TypeAlias


@dataclass(frozen=True, kw_only=True)
class FilePin:
    """One file of a download."""

    name: str
    size: int
    """Bytes."""
    digest: str
    """``sha256:`` of the content, ``git-sha1:`` of the git object, or ``blake3:`` of the content,
    whichever the hub or the store knows."""


@dataclass(frozen=True, kw_only=True)
class HubPin:
    """A repository of a hub at a commit."""

    repo: str
    revision: str
    """As the recipe says it."""
    commit: str
    """What that stood for."""
    include: list[str] = field(default_factory=list)
    exclude: list[str] = field(default_factory=list)
    files: list[FilePin] = field(default_factory=list)
    """Empty where nobody could tell; the commit alone counts then."""


@dataclass(frozen=True, kw_only=True)
class GitPin:
    """A git repository at a commit."""

    url: str
    revision: str
    """As the recipe says it."""
    commit: str
    """What that stood for."""


@dataclass(frozen=True, kw_only=True)
class EnvPin:
    """Packages of an environment."""

    requirements: list[str] = field(default_factory=list)
    """As the recipe says them."""
    packages: list[str] = field(default_factory=list)
    """Every package that is installed for them: lines of ``requirements.lock``; none where the
    host has all that is asked for."""


Pin: TypeAlias = HubPin | GitPin | EnvPin


@dataclass(frozen=True, kw_only=True)
class BackendPin:
    """The toolchain."""

    name: str
    engine: str
    """Format of the engines."""
    because: str
    """Why this toolchain was taken; for people, never compared."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Everything outside of the recipe and the overrides that decides what comes out.

    One entry serves every choice whose pins do not contradict each other. Where they do (two
    backends, two revisions of a model), a recipe has several entries.
    """

    overrides: list[str] = field(default_factory=list)
    """What it was made for, so that ``mmtrt lock`` can do it again: the words of a command line,
    for each choice that it takes to need all that is pinned. Never compared."""
    mmtrt: str
    """Version of mmtrt."""
    key_schema: int
    backend: BackendPin
    gpu: dict[str, str | int] = field(default_factory=dict)
    """What the engines are tied to; empty for portable ones."""
    tools: dict[str, str] = field(default_factory=dict)
    """Versions that enter keys."""
    patches: dict[str, str] = field(default_factory=dict)
    """Stage -> digest of its edits."""
    local: dict[str, str] = field(default_factory=dict)
    """Stage -> digest of the user's own model."""
    downloads: dict[str, HubPin] = field(default_factory=dict)
    clones: dict[str, GitPin] = field(default_factory=dict)
    environments: dict[str, EnvPin] = field(default_factory=dict)

    def leaves_open(self, key: str) -> bool:
        """Return whether it was made for a choice that says nothing of a key, such as ``backend``.

        Only then does it tell what that key means where nobody says it.
        """
        return not self.overrides or any(
            not any(word.startswith(f"{key}=") for word in words) for words in self.choices()
        )

    def choices(self) -> list[tuple[str, ...]]:
        """Return the words of each choice that it was made for."""
        return [tuple(shlex.split(line)) for line in self.overrides]

    def to_plain(self) -> dict[str, Any]:
        """Return the entry as plain data, without what is empty."""
        plain: dict[str, Any] = _filled(dataclasses.asdict(self))
        return plain


def _filled(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _filled(each) for name, each in value.items() if each not in ({}, [])}
    return value
