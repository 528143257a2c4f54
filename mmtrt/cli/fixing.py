"""``mmtrt size --fix``: apply what the findings about sizes ask for until none is left."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmtrt.cli.arguments import Arguments
from mmtrt.cli.session import open_session
from mmtrt.config.overrides import GROUPS, key_of, shell, value_of
from mmtrt.errors import UsageError
from mmtrt.rules.base import Finding
from mmtrt.rules.check import find

MAX_ROUNDS = 12
"""*Chosen*: there are seven limits, and few of them follow from one another."""
MARK = "# Written by `mmtrt size --fix`"
PACKAGE = "# @package _global_"


@dataclass(frozen=True)
class Mended:
    """Overrides without a finding about sizes, or the findings that stay."""

    words: tuple[str, ...]
    """Every override: the user's, and those that mend them."""
    changed: tuple[str, ...]
    """The overrides that are new."""
    steps: tuple[str, ...]
    """What was done and why, a line each."""
    left: tuple[Finding, ...] = ()
    config_dirs: tuple[Path, ...] = ()
    """The user's own directories, as given."""

    @property
    def line(self) -> str:
        """Return what to type behind ``mmtrt``."""
        return _typed(self.config_dirs, self.words)

    def to_json(self) -> dict[str, Any]:
        """Return what ``mmtrt size --fix --json`` prints."""
        return {
            "schema": 1,
            "overrides": [] if self.left else list(self.words),
            "changed": [] if self.left else list(self.changed),
            "steps": list(self.steps),
            "left": [finding.to_json() for finding in self.left],
        }

    def launch(self, output: Path) -> str:
        """Return the command line that uses the written file."""
        folder, group = _folder(output)
        rest = [word for word in self.words if word not in self.changed]
        dirs = dict.fromkeys([*self.config_dirs, folder])
        return f"mmtrt {_typed(list(dirs), [*rest, f'+{group}={output.stem}'])}"


def _typed(dirs: Sequence[Path], words: Sequence[str]) -> str:
    switches = [part for each in dirs for part in ("-cd", str(each))]
    return " ".join(shell(word) for word in (*switches, *words))


def mend(arguments: Arguments) -> Mended:
    """Apply the computed fixes, round by round; each round composes what the user would type.

    Stops where nothing is found, where nobody knows a fix, where the fixes contradict one another,
    and after :data:`MAX_ROUNDS`.
    """
    words = tuple(arguments.overrides)
    changed: dict[str, str] = {}
    steps: list[str] = []
    rounds: dict[tuple[str, ...], list[Finding]] = {}
    while words not in rounds and len(rounds) < MAX_ROUNDS:
        session = open_session("size", replace(arguments, overrides=list(words)))
        found = [finding for finding in find(session.plan) if finding.code.startswith("SIZ")]
        rounds[words] = found
        wanted: dict[str, str] = {}
        for finding in found:
            for word in _overrides(finding.fix):
                if key_of(word) not in wanted:  # the worst finding comes first
                    wanted[key_of(word)] = word
                    steps.append(f"{finding.code}: {finding.message}: {shell(word)}")
        words = (*(word for word in words if key_of(word) not in wanted), *wanted.values())
        changed |= wanted
    dirs = tuple(arguments.config_dirs)
    left = () if not rounds.get(words, True) else _circle(rounds, words)
    return Mended(words, tuple(changed.values()), tuple(steps), left, dirs)


def _circle(
    rounds: dict[tuple[str, ...], list[Finding]], words: tuple[str, ...]
) -> tuple[Finding, ...]:
    """Return what was found since these overrides came up: fixes that undo one another."""
    order = list(rounds)
    start = order.index(words) if words in rounds else len(order) - 1
    found = [finding for each in order[start:] for finding in rounds[each]]
    return tuple({finding.code: finding for finding in found}.values())


def _overrides(fix: str) -> list[str]:
    """Return the overrides that a fix consists of; none where it says something else."""
    try:
        words = shlex.split(fix)
    except ValueError:
        return []
    return words if all(re.fullmatch(r"[a-z_][a-z0-9_.]*=[^=\s<>]+", w) for w in words) else []


def check_place(output: Path) -> None:
    """Refuse a place where Hydra would not find the file, or that holds another's work.

    Raises:
        UsageError: CFG003.
    """
    if output.suffix != ".yaml" or not re.fullmatch(r"[A-Za-z][\w-]*", output.stem):
        raise UsageError(
            f"-o needs a file DIR/GROUP/NAME.yaml, not {output}",
            code="CFG003",
            why="mmtrt -cd DIR +GROUP=NAME looks for it there",
            fix="-o my_recipes/experiment/sizes.yaml",
        )
    group = _folder(output)[1]
    if group in GROUPS or not re.fullmatch(r"[A-Za-z]\w*", group):
        raise UsageError(
            f"a file of overrides cannot lie in a directory named {group!r}",
            code="CFG003",
            why="the directory is the name of a choice: +GROUP=NAME",
            fix="-o my_recipes/experiment/sizes.yaml",
        )
    if not output.parent.is_dir():
        raise UsageError(
            f"there is no directory {output.parent}",
            code="CFG003",
            fix=f"mkdir -p {shell(str(output.parent))}",
        )
    try:
        is_ours = not output.exists() or MARK in output.read_text(encoding="utf-8")
    except (OSError, ValueError):
        is_ours = False
    if not is_ours:
        raise UsageError(
            f"{output} is there already",
            code="CFG003",
            why="it is not from `mmtrt size --fix`",
            fix="another name",
        )


def yaml_text(mended: Mended, output: Path) -> str:
    """Return the overrides that are new as a YAML file that Hydra lays over a recipe."""
    lines = [PACKAGE, f"{MARK}; use it:", f"# {mended.launch(output)}"]
    tree: dict[str, Any] = {}
    for word in mended.changed:
        *above, last = key_of(word).split(".")
        place = tree
        for name in above:
            place = place.setdefault(name, {})
        place[last] = value_of(word)
    return "\n".join([*lines, *_block(tree), ""])


def _block(tree: dict[str, Any], indent: str = "") -> Sequence[str]:
    lines: list[str] = []
    for key, value in tree.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", *_block(value, indent + "  ")]
        else:
            lines.append(f"{indent}{key}: {value}")
    return lines


def _folder(output: Path) -> tuple[Path, str]:
    """Return the directory for ``-cd`` and the name of the group."""
    folder = output.parent
    if folder.name in ("", ".", ".."):
        folder = folder.absolute()
    return folder.parent, folder.name
