"""Read a tool's words strictly, by the flag table of its version.

The messages are argparse's own: the parsers are built from the tables. ``trtllm-serve`` uses click
and has its own messages in ``serve``.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

import mmtrt
from mmtrt.fake import settings
from mmtrt.fake.failure import ToolFailure, UsageFailure

NUMBERS = {"int": int, "float": float}


class Flags:
    """The values of a command line; a flag that was not given has the tool's default.

    Args:
        given: what was on the command line, by the first name of the flag.
        defaults: the rest.
    """

    def __init__(self, given: dict[str, Any], defaults: dict[str, Any]) -> None:
        self._given, self._defaults = given, defaults

    def has(self, flag: str) -> bool:
        """Return whether it was on the command line."""
        return flag in self._given

    def value(self, flag: str) -> Any:
        """Return its value, ``None`` if there is neither value nor default."""
        return self._given.get(flag, self._defaults.get(flag))

    def text(self, flag: str) -> str | None:
        """Return a text."""
        value = self.value(flag)
        return None if value is None else str(value)

    def number(self, flag: str) -> int:
        """Return an integer; a flag without value counts as 0."""
        return int(self.value(flag) or 0)

    def count(self, flag: str) -> int | None:
        """Return an integer or ``None``."""
        value = self.value(flag)
        return None if value is None else int(value)

    def is_on(self, flag: str) -> bool:
        """Return whether a bare flag was given, or one with values says so."""
        return str(self.value(flag)).lower() in ("true", "enable", "yes", "t", "1")

    def words(self, flag: str) -> list[str] | None:
        """Return the words of a flag that takes several."""
        value = self.value(flag)
        return None if value is None else [value] if isinstance(value, str) else list(value)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageFailure(f"{self.format_usage()}{self.prog}: error: {message}")


def read(tool: str, words: Sequence[str]) -> Flags:
    """Return the flags of a command line.

    Raises:
        UsageFailure: with argparse's message, as the real tool refuses it.
    """
    parser = _Parser(prog=tool.rsplit("/", 1)[-1], argument_default=argparse.SUPPRESS)
    known = table(tool)
    for flag, entry in known.items():
        _add(parser, flag, entry)
    given = vars(parser.parse_args(list(words)))
    require_bounds(tool, given)
    _require_one_value(tool, words)
    return Flags(given, defaults(tool))


def require_bounds(tool: str, given: Mapping[str, Any]) -> None:
    """Stop at the first number that the tool, or the runtime behind it, asserts to be another.

    Args:
        tool: as ``tools.TOOLS`` calls it.
        given: what stands on the command line, by the first name of the flag.

    Raises:
        ToolFailure: naming the flag.
    """
    for flag, entry in table(tool).items():
        value = given.get(flag)
        if isinstance(value, (int, float)) and (asked := _flags_module().beyond(entry, value)):
            text = f"{flag.lstrip('-')} is {value:g}, not {asked}"
            raise ToolFailure("RuntimeError", f"[TensorRT-LLM][ERROR] Assertion failed: {text}")


def _require_one_value(tool: str, words: Sequence[str]) -> None:
    """Stop at two names of one flag with different values: the real parser takes the last."""
    for flag, entry in table(tool).items():
        names = (flag, *entry.get("aliases", ()))
        said: dict[str, str] = {}
        for word, after in zip(words, [*words[1:], ""]):
            head, equals, value = word.partition("=")
            if head in names:
                said[head] = value if equals else after
        if len(set(said.values())) > 1:
            told = " and ".join(f"{name} {value}" for name, value in said.items())
            raise ToolFailure("AssertionError", f"{told} are one flag")


def _add(parser: argparse.ArgumentParser, flag: str, entry: dict[str, Any]) -> None:
    names = (flag, *entry.get("aliases", ()))
    options: dict[str, Any] = {"dest": flag, "required": bool(entry.get("required"))}
    if entry.get("action"):
        parser.add_argument(*names, action=entry["action"], **options)
        return
    kind = NUMBERS.get(entry.get("type", ""), str)
    options["type"] = kind
    if choices := entry.get("choices"):
        options["choices"] = [kind(choice) for choice in choices]
    if (nargs := entry.get("nargs")) is not None:
        options["nargs"] = nargs
    parser.add_argument(*names, metavar=flag.lstrip("-").upper(), **options)


def table(tool: str) -> dict[str, dict[str, Any]]:
    """Return the flags of a tool in the version that is played, or in the newest known one."""
    tables = _flags_module()
    wanted = ".".join(settings.read().version.split(".")[:2])
    known = tables.known_versions()
    found: dict[str, dict[str, Any]] = tables._tables(wanted if wanted in known else known[-1])[
        tool
    ]
    return found


def defaults(tool: str) -> dict[str, Any]:
    """Return the default of every flag that has one."""
    known = table(tool)
    return {flag: entry["default"] for flag, entry in known.items() if "default" in entry}


@lru_cache(maxsize=1)
def _flags_module() -> Any:
    """Load ``mmtrt.backends.flags`` without its package, whose backends take longer to import."""
    path = Path(mmtrt.__file__).parent / "backends" / "flags.py"
    spec = importlib.util.spec_from_file_location("mmtrt_fake_flags", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
