"""What a backend gives back: a command whose paths are still symbols, or the reason to skip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol, TypeAlias, cast

from mmtrt.host import HostInfo
from mmtrt.stages import Stage


@dataclass(frozen=True, slots=True)
class In:
    """The place of an input: port, and optionally a path below it."""

    port: str
    path: str = ""

    def symbol(self) -> str:
        """Return how plans and keys write it."""
        return "{in." + self.port + "}" + (f"/{self.path}" if self.path else "")


@dataclass(frozen=True, slots=True)
class Local:
    """A file or directory of the user's that a stage reads; its content enters the key."""

    name: str
    path: str

    def symbol(self) -> str:
        """Return how plans and keys write it: the base name stays, since results may show it."""
        return "{local." + self.name + "}/" + Path(self.path).name


@dataclass(frozen=True, slots=True)
class Out:
    """The directory that the stage writes, or a path below it."""

    path: str = ""

    def symbol(self) -> str:
        """Return how plans and keys write it."""
        return "{out}" + (f"/{self.path}" if self.path else "")


@dataclass(frozen=True, slots=True)
class Python:
    """The interpreter: mmtrt's own, or that of an ``env`` stage."""

    port: str | None = None
    """Input that holds the environment."""

    def symbol(self) -> str:
        """Return how plans and keys write it."""
        return "{python}" if self.port is None else "{in." + self.port + "}/bin/python"


EXAMPLES_PORT = "examples"
"""The input by which stages reach example scripts that a stage fetches."""


@dataclass(frozen=True, slots=True)
class Script:
    """An example script of the toolchain; its version is the toolchain's."""

    root: str | None
    """Directory of the examples; ``None``: input :data:`EXAMPLES_PORT` holds them."""
    path: str

    def symbol(self) -> str:
        """Return how plans and keys write it."""
        return "{examples}/" + self.path


@dataclass(frozen=True, slots=True)
class Side:
    """A file that a tool keeps from build to build, such as a timing cache; no artifact."""

    path: str
    """Below the store's directory of such files."""

    def symbol(self) -> str:
        """Return how plans write it; keys never do."""
        return "{side}/" + self.path


@dataclass(frozen=True, slots=True)
class Unkeyed:
    """A word that cannot change the output: a worker count, the place of a timing cache."""

    word: str | Side

    def symbol(self) -> str:
        """Return how plans write it; keys leave it out."""
        return symbol(self.word)


@dataclass(frozen=True, slots=True)
class Pair:
    """One word made of a literal and a place: ``llm=`` and ``{in.llm}``."""

    prefix: str
    place: In | Local | Out

    def symbol(self) -> str:
        """Return how plans and keys write it."""
        return escape(self.prefix) + self.place.symbol()


ENV_LOCK = "requirements.lock"
"""Of an environment: every distribution that it installs, with its version."""

Word: TypeAlias = str | In | Local | Out | Python | Script | Pair | Unkeyed


def escape(text: str) -> str:
    """Return literal text so that it cannot be taken for a symbol."""
    return text.replace("{", "{{").replace("}", "}}")


def symbol(word: Word | Side) -> str:
    """Return the symbolic form of one word of a command."""
    return escape(word) if isinstance(word, str) else word.symbol()


@dataclass(frozen=True, slots=True)
class Resources:
    """What a command needs of the host while it runs."""

    gpus: int = 0
    ram_bytes: int = 0
    disk_bytes: int = 0
    network: bool = False

    def to_json(self) -> dict[str, int | bool]:
        """Return the shape that ``mmtrt plan --json`` promises."""
        return {
            "gpus": self.gpus,
            "ram_bytes": self.ram_bytes,
            "disk_bytes": self.disk_bytes,
            "network": self.network,
        }


@dataclass(frozen=True, kw_only=True)
class Command:
    """One process: argument vector, never a shell string."""

    argv: tuple[Word, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables that change the output; they enter the key."""
    pass_env: tuple[str, ...] = ()
    """Variables handed on by name only: tokens, proxies, caches. Never in key, log or manifest."""
    cwd: Out | Local | None = None
    """Working directory; ``None`` is an empty directory beside the output, removed at the end."""
    outputs: Mapping[str, str] = field(default_factory=dict)
    """Name -> path below the output that must exist when the command has ended."""
    resources: Resources = Resources()
    tools: tuple[str, ...] = ()
    """Distributions whose version can change the output; see :meth:`Backend.tool_versions`."""
    retry_exit_codes: frozenset[int] = frozenset()
    """Exit codes after which trying again may help."""
    harvest: str | None = None
    """What to read from the tool's log into the output; see :mod:`mmtrt.executor.harvest`."""
    keeps: Mapping[str, Side] = field(default_factory=dict)
    """File that the tool writes into an empty working directory -> where it is kept."""
    is_portable: bool = False
    """Whether what it builds runs anywhere, whatever :meth:`Backend.gpu_class` says of others."""

    def places(self) -> list[In | Local]:
        """Return what the command reads and what enters the key for it, in order of appearance.

        Of an environment that is the list of what is installed: its other files hold paths.
        """
        return list(self._places)

    @cached_property
    def _places(self) -> tuple[In | Local, ...]:
        found: list[In | Local] = []
        for word in (*self.argv, self.cwd):
            place = word.place if isinstance(word, Pair) else word
            if isinstance(place, Python) and place.port is not None:
                place = In(place.port, ENV_LOCK)
            if isinstance(place, (In, Local)) and place not in found:
                found.append(place)
        return tuple(found)

    def ports(self) -> list[str]:
        """Return the inputs without which the command cannot start, keyed or not."""
        found = [place.port for place in self.places() if isinstance(place, In)]
        if any(isinstance(word, Script) and word.root is None for word in self.argv):
            found.append(EXAMPLES_PORT)
        return list(dict.fromkeys(found))

    def below(self, paths: Mapping[str, str]) -> Command:
        """Return the command with inputs moved to a path below them: port -> path."""

        def moved(word: Word) -> Word:
            if isinstance(word, In) and paths.get(word.port):
                inner = f"/{word.path}" if word.path else ""
                return In(word.port, paths[word.port] + inner)
            if isinstance(word, Pair):
                return Pair(word.prefix, cast("In | Local | Out", moved(word.place)))
            return word

        return replace(self, argv=tuple(moved(word) for word in self.argv))


@dataclass(frozen=True, slots=True)
class Skip:
    """The stage has nothing to do with this backend and these choices."""

    reason: str


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """The engine format of a plan and why it was taken."""

    name: str
    because: str


class Backend(Protocol):
    """A toolchain that lowers stages to commands."""

    @property
    def name(self) -> str:
        """The value of ``backend`` that takes it."""
        ...

    @property
    def formats(self) -> tuple[str, ...]:
        """The values of ``quant`` that it can build."""
        ...

    @property
    def max_ranks(self) -> int:
        """The largest tp * pp that it can build for."""
        ...

    @property
    def install_hint(self) -> str:
        """How to get what it needs."""
        ...

    @property
    def engine_choice(self) -> EngineChoice | None:
        """What :meth:`engine` chose and why; ``None`` where there is one format only."""
        ...

    def engine(self, asked: str) -> str:
        """Return the engine format for the user's choice, which may be ``auto``."""
        ...

    def lower(self, stage: Stage) -> Command | Skip:
        """Return the command of a stage.

        Raises:
            PlanError: ENG101 if this toolchain cannot do what the stage asks.
        """
        ...

    def prepared(self, stages: list[Stage]) -> list[Stage]:
        """Return the stages with what this toolchain needs beside them, such as its scripts."""
        ...

    def toolchain(self) -> dict[str, str]:
        """Return ``name`` and ``version`` for people and plans."""
        ...

    def tool_versions(self, tools: tuple[str, ...]) -> dict[str, str]:
        """Return the versions that enter the key of a command with these tools."""
        ...

    def gpu_class(self) -> dict[str, str | int] | None:
        """Return what an engine is tied to beside its inputs; ``None`` for portable engines."""
        ...


@dataclass(frozen=True, slots=True)
class Choice:
    """The backend of a plan and why it was taken."""

    backend: Backend
    because: str
    host: HostInfo
    lock: str | None = None
    """The lock file whose pins the plan uses."""
