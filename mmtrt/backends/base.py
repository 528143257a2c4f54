"""What a backend gives back: a command whose paths are still symbols, or the reason to skip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias

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
    """The interpreter of the stage's environment."""

    def symbol(self) -> str:
        """Return how plans and keys write it."""
        return "{python}"


@dataclass(frozen=True, slots=True)
class Script:
    """An example script of the toolchain; its version is the toolchain's."""

    root: str
    path: str

    def symbol(self) -> str:
        """Return how plans and keys write it."""
        return "{examples}/" + self.path


@dataclass(frozen=True, slots=True)
class Pair:
    """One word made of a literal and a place: ``llm=`` and ``{in.llm}``."""

    prefix: str
    place: In | Local | Out

    def symbol(self) -> str:
        """Return how plans and keys write it."""
        return escape(self.prefix) + self.place.symbol()


Word: TypeAlias = str | In | Local | Out | Python | Script | Pair


def escape(text: str) -> str:
    """Return literal text so that it cannot be taken for a symbol."""
    return text.replace("{", "{{").replace("}", "}}")


def symbol(word: Word) -> str:
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
    ignores: frozenset[str] = frozenset()
    """Stage fields that this toolchain does not look at; they stay out of the key."""
    tools: tuple[str, ...] = ()
    """Distributions whose version can change the output; see :meth:`Backend.tool_versions`."""
    retry_exit_codes: frozenset[int] = frozenset()
    """Exit codes after which trying again may help."""

    def places(self) -> list[In | Local]:
        """Return what the command reads, in order of appearance."""
        found: list[In | Local] = []
        for word in (*self.argv, self.cwd):
            place = word.place if isinstance(word, Pair) else word
            if isinstance(place, (In, Local)) and place not in found:
                found.append(place)
        return found


@dataclass(frozen=True, slots=True)
class Skip:
    """The stage has nothing to do with this backend and these choices."""

    reason: str


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

    def engine(self, asked: str) -> str:
        """Return the engine format for the user's choice, which may be ``auto``."""
        ...

    def lower(self, stage: Stage) -> Command | Skip:
        """Return the command of a stage.

        Raises:
            PlanError: ENG101 if this toolchain cannot do what the stage asks.
        """
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
