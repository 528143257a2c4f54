"""Commands with real paths, and the plan as ``mmtrt plan --json`` promises it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmtrt.backends.base import (
    EXAMPLES_PORT,
    Command,
    In,
    Local,
    Out,
    Pair,
    Python,
    Script,
    Side,
    Unkeyed,
    Word,
    symbol,
)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the symbols of one command are on this machine."""

    out: Path | None
    """``None`` while the key is not known; the symbol then stays."""
    inputs: Mapping[str, Path]
    """Port -> directory; a port that is not built yet is absent and stays a symbol."""
    python: str
    side: Path | None = None
    """Directory of the files that tools keep from build to build."""

    def word(self, word: Word) -> str:
        """Return one word with real paths where they are known."""
        if isinstance(word, str):
            return word
        if isinstance(word, Pair):
            return word.prefix + self.word(word.place)
        if isinstance(word, Unkeyed):
            return self.word(word.word) if isinstance(word.word, str) else self._side(word.word)
        if isinstance(word, Python):
            return self.python if word.port is None else self.word(In(word.port, "bin/python"))
        if isinstance(word, Script):
            if word.root is not None:
                return f"{word.root}/{word.path}"
            return self.word(In(EXAMPLES_PORT, f"examples/{word.path}"))
        if isinstance(word, Local):
            return str(Path(word.path).absolute())
        base = self.out if isinstance(word, Out) else self.inputs.get(word.port)
        if base is None:
            return symbol(word)
        return str(base / word.path if word.path else base)

    def _side(self, side: Side) -> str:
        return symbol(side) if self.side is None else str(self.side / side.path)

    def argv(self, command: Command) -> list[str]:
        """Return the argument vector."""
        return [self.word(word) for word in command.argv]

    def cwd(self, command: Command) -> str | None:
        """Return the working directory that the command asks for."""
        return None if command.cwd is None else self.word(command.cwd)


def symbolic(command: Command) -> list[str]:
    """Return the argument vector with symbols instead of paths."""
    return [symbol(word) for word in command.argv]


def places_json(command: Command, layout: Layout, as_symbols: bool) -> dict[str, Any]:
    """Return the inputs of a command by name."""
    return {
        _name(place): symbol(place) if as_symbols else layout.word(place)
        for place in command.places()
    }


def _name(place: In | Local) -> str:
    if isinstance(place, In):
        return place.port + (f"/{place.path}" if place.path else "")
    return place.name
