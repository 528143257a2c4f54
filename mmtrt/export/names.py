"""Names in a script that need no quotes, and words that get them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

_PLAIN_PATH = re.compile(r"[\w./+:,@%-]+", re.ASCII)
"""Paths that need no quotes of their own between the quotes of a variable."""


class Names:
    """Hands out names of shell variables and of directories, each once."""

    def __init__(self, *taken: str) -> None:
        self._taken = set(taken)

    def variable(self, *parts: str) -> str:
        """Return a free variable name made of ``parts``."""
        text = re.sub(r"\W", "_", "_".join(parts).upper(), flags=re.ASCII)
        return self._free(text if not text[:1].isdigit() else f"STAGE_{text}")

    def directory(self, text: str) -> str:
        """Return a free directory name that needs no quotes."""
        plain = re.sub(r"[^\w.-]", "_", text, flags=re.ASCII)
        return self._free(f"stage_{plain}" if plain.strip(".") != plain else plain)

    def _free(self, wanted: str) -> str:
        name, count = wanted, 1
        while name in self._taken:
            count += 1
            name = f"{wanted}_{count}"
        self._taken.add(name)
        return name


def below(variable: str, path: str) -> str:
    """Return the place below a variable, as one shell word."""
    if not path:
        return f'"${variable}"'
    if _PLAIN_PATH.fullmatch(path):
        return f'"${variable}/{path}"'
    return f'"${variable}"/{shlex.quote(path)}'


def comment(text: str) -> str:
    """Return a comment; a line break in ``text`` must not end it."""
    return "# " + " ".join(text.splitlines())


class Verbatim(str):
    """A line of a here-document, which must not be indented."""

    __slots__ = ()


def indented(lines: Iterable[str]) -> list[str]:
    """Return lines of commands one step further in."""
    return [line if isinstance(line, Verbatim) else f"  {line}" for line in lines]


def here_document(text: str) -> tuple[str, list[Verbatim]]:
    """Return the redirection and the lines that follow it, taken by the shell as they are."""
    lines = text.removesuffix("\n").split("\n") if text else []
    name, count = "END", 1
    while name in lines:
        count += 1
        name = f"END_{count}"
    return f"<< '{name}'", [Verbatim(line) for line in (*lines, name)]


def one_a_line(words: Iterable[tuple[str, bool]]) -> list[str]:
    """Return a command as lines; a word marked ``True`` begins a line of its own."""
    lines: list[str] = []
    for text, is_first in words:
        if not lines:
            lines.append(text)
        elif is_first:
            lines.append("  " + text)
        else:
            lines[-1] += " " + text
    return [line + " \\" for line in lines[:-1]] + lines[-1:]
