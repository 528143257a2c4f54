"""Which of a model's files are wanted: glob patterns, and no pickles unless asked for."""

from __future__ import annotations

import difflib
import glob
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from mmtrt.artifacts.weights import asked_for, is_without
from mmtrt.tasks.messages import TaskError, listed, quoted

PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".nemo")
"""Kinds of file with Python pickles, which run code when loaded; ``.nemo`` is a tar of them."""


@dataclass(frozen=True)
class Choice:
    """The files a stage takes, and those it leaves behind on purpose."""

    files: tuple[str, ...]
    pickles: tuple[str, ...]
    """Wanted by the patterns and refused for what they are."""
    unmatched: tuple[str, ...]
    """Patterns with a wildcard that no file fits; often harmless, sometimes a slip."""


@dataclass(frozen=True)
class Patterns:
    """What a recipe wants of a repository; ``*`` also crosses ``/``, as on the hub.

    An empty ``include`` wants everything.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    allow_pickle: bool = False

    def want(self, name: str) -> bool:
        """Return whether a file of this name would be taken, pickle or not."""
        taken = not self.include or any(_fits(name, pattern) for pattern in self.include)
        return taken and not any(_fits(name, pattern) for pattern in self.exclude)


def is_pickle(name: str) -> bool:
    """Return whether a file of this name runs code when it is loaded as weights."""
    return name.lower().endswith(PICKLE_SUFFIXES)


def choose(names: Iterable[str], patterns: Patterns, where: str) -> Choice:
    """Apply the patterns to the names; ``where`` tells the user what was searched.

    Raises:
        TaskError: SEC101, if a pickle is named in full, or the weights that are wanted are pickles
            only; MDL114, if a file that is named in full is not there, if weights are asked for and
            there are none, or if nothing at all is left.
    """
    everything = sorted(names)
    wanted = [name for name in everything if patterns.want(name)]
    pickles = [name for name in wanted if is_pickle(name) and not patterns.allow_pickle]
    files = [name for name in wanted if name not in pickles]
    idle = [p for p in patterns.include if not any(_fits(name, p) for name in everything)]
    if missing := [pattern for pattern in idle if not glob.has_magic(pattern)]:
        raise _missing(missing, everything, where)
    named = [name for name in pickles if name in patterns.include]
    if named or (pickles and not any(name.endswith(".safetensors") for name in files)):
        raise _only_pickles(named or pickles, everything, where)
    if not files:
        raise TaskError(
            f"no file of {where} is wanted",
            code="MDL114",
            why=f"it holds {listed(everything)}" if everything else "it holds no files",
            fix="correct recipe.stages.download.include and .exclude",
        )
    if is_without(files, patterns.include):
        raise TaskError(
            f"{where} has no weights: no file fits {listed(asked_for(patterns.include))}",
            code="MDL114",
            why=f"it holds {listed(everything)}",
            fix="choose a revision that has them, or correct recipe.stages.download.include",
        )
    return Choice(tuple(files), tuple(pickles), tuple(idle))


def _fits(name: str, pattern: str) -> bool:
    return fnmatchcase(name, f"{pattern}*" if pattern.endswith("/") else pattern)


def _missing(missing: Sequence[str], everything: Sequence[str], where: str) -> TaskError:
    near = difflib.get_close_matches(missing[0], everything, n=1)
    same = [
        name for name in everything if PurePosixPath(name).name == PurePosixPath(missing[0]).name
    ]
    hint = next(iter([*same, *near]), None)
    return TaskError(
        f"{where} has no {listed(missing)}",
        code="MDL114",
        why="the recipe names it in recipe.stages.download.include",
        fix=f"name `{quoted(hint)}` instead" if hint else "correct the name, or the revision",
    )


def _only_pickles(pickles: Sequence[str], everything: Sequence[str], where: str) -> TaskError:
    others = [name for name in everything if name.endswith(".safetensors")]
    if others:
        message = f"pickled weights are wanted of {where}: {listed(pickles)}"
        instead = f"take the safetensors files ({listed(others)})"
    else:
        message = f"{where} has no safetensors at all, only pickled weights: {listed(pickles)}"
        instead = "choose a revision or a conversion with safetensors"
    return TaskError(
        message,
        code="SEC101",
        why="a pickle runs code of its author when it is loaded",
        fix=f"{instead}; or, if you trust the author, set "
        "recipe.stages.download.allow_pickle=true (flag --allow-pickle)",
    )
