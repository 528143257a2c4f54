"""One command line, taken apart: our own switches, the directories with more recipes, overrides."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmtrt.errors import UsageError


@dataclass(frozen=True, slots=True)
class Arguments:
    """What the user typed after the verb."""

    words: list[str] = field(default_factory=list)
    """Positional words that are no overrides."""
    overrides: list[str] = field(default_factory=list)
    """``key=value`` in Hydra's syntax."""
    flags: Mapping[str, str | bool] = field(default_factory=dict)
    """Switches by name: ``True``, or the value of one that takes a value."""
    config_dirs: list[Path] = field(default_factory=list)
    """Directories given with ``-cd``."""

    def on(self, name: str) -> bool:
        """Return whether a switch was given."""
        return bool(self.flags.get(name, False))

    def text(self, name: str) -> str | None:
        """Return the value of a switch, ``None`` if it was not given."""
        value = self.flags.get(name)
        return value if isinstance(value, str) else None


MULTIRUN = ("-m", "--multirun")
"""Hydra's switch for a sweep."""


def asks_for_sweep(args: Sequence[str]) -> bool:
    """Tell whether a reading verb is to look at a sweep."""
    return any(word in MULTIRUN for word in args)


def parse(
    verb: str,
    args: Sequence[str],
    usage: str,
    switches: Sequence[str] = (),
    valued: Sequence[str] = (),
) -> Arguments | None:
    """Take a command line apart; ``None`` after printing ``usage`` for ``--help``.

    Args:
        verb: for messages.
        args: the words after the verb.
        usage: the text of ``--help``.
        switches: names of switches without value, such as ``--json``.
        valued: names of switches with one value, as ``--x value`` or ``--x=value``.

    Raises:
        UsageError: CFG002 for an unknown switch or a missing value.
    """
    words, overrides, dirs = [], [], []
    flags: dict[str, str | bool] = {}
    rest = list(args)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if word in ("-h", "--help"):
            import sys

            sys.stdout.write(usage.rstrip() + "\n")
            return None
        if name in ("-cd", "--config-dir"):
            dirs.append(Path(value if equals else _value(verb, name, rest)))
        elif name in valued:
            flags[name] = value if equals else _value(verb, name, rest)
        elif word in switches:
            flags[word] = True
        elif word in MULTIRUN:
            raise UsageError(
                f"mmtrt {verb} is of one point, not of a sweep",
                code="CFG002",
                why="-m goes with run, plan, check and lock",
                fix=f"mmtrt {verb} with the overrides of one point",
            )
        elif word.startswith("-") and word != "-":
            raise _no_switch(verb, args, word, rest, [*switches, *valued, "-cd", "--help"])
        elif ("=" in word and not _names_point(name)) or word.startswith(("+", "~")):
            overrides.append(word)
        else:
            words.append(word)
    return Arguments(words, overrides, flags, dirs)


def _no_switch(
    verb: str, args: Sequence[str], word: str, rest: list[str], known: list[str]
) -> UsageError:
    """Return the error of an unknown switch, with the whole line as it should be."""
    from mmtrt.config import keys  # of mistakes alone

    name, equals, value = word.partition("=")
    before = args[: len(args) - len(rest) - 1]
    near = difflib.get_close_matches(name, known, 1, 0.5)
    error = UsageError(
        f"mmtrt {verb} has no switch {name}", code="CFG002", why=f"switches: {', '.join(known)}"
    )
    key = name.lstrip("-").replace("-", "_")
    if name in known:
        error.message, error.why = f"mmtrt {verb}: {name} takes no value", None
        words = [*before, name, *rest]
    elif key in keys.flat_keys():
        error.why = "keys are set without dashes: key=value"
        given = [value] if equals else rest[:1]
        words = [*before, f"{key}={given[0] if given else '...'}", *(rest if equals else rest[1:])]
    else:
        words = [*before, near[0], *rest] if near else ["--help"]
    error.fix = shlex.join(["mmtrt", verb, *words])
    return error


def meant_recipe(word: str) -> str | None:
    """Return the recipe that a word names, in any case and with either dash."""
    from mmtrt.config.root import choices, search_dirs  # of mistakes alone

    name = word.lower().replace("-", "_").replace(".", "_")
    near = difflib.get_close_matches(name, choices("recipe", search_dirs(())), 1, 0.8)
    return near[0] if near else None


def _names_point(key: str) -> bool:
    """Return whether a word is a run with a point of it, such as ``sweep:tp=2``, and sets no key.

    A colon in a key stands in its package.
    """
    return ":" in key and "@" not in key


def _value(verb: str, name: str, rest: list[str]) -> str:
    if not rest:
        raise UsageError(f"mmtrt {verb}: {name} needs a value", code="CFG002")
    return rest.pop(0)
