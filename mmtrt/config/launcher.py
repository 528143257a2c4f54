"""What mmtrt's launcher for Hydra calls: points are handed over together, not one by one.

Hydra's own launcher composes one point after the other and runs it. The launcher of
``hydra_plugins.mmtrt`` takes the overrides of a whole batch, and who called Hydra composes them.
Other sweepers and launchers may take the place of mmtrt's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one point went, for the sweeper."""

    value: Any = None
    """What the sweeper is to make better, if it asks: a number, or several."""
    error: BaseException | None = None


Points = Sequence[Sequence[str]]

Launch = Callable[[Points, int, Any], Sequence[Outcome]]
"""Takes the overrides of each point, the number of the first, and Hydra's own configuration."""

Choose = Callable[[Points], list[Sequence[str]]]
"""Takes the points that a sweeper is going to launch, and returns those that it shall."""

_launches: list[tuple[Launch, Choose]] = []
"""Who takes the points of the sweep that runs just now."""


@contextlib.contextmanager
def launching(launch: Launch, choose: Choose = list) -> Iterator[None]:
    """Let the sweeps inside hand their points to ``launch``, those that ``choose`` leaves."""
    _launches.append((launch, choose))
    try:
        yield
    finally:
        _launches.pop()


def launch(points: Points, first: int, config: Any) -> Sequence[Outcome]:
    """Hand points to whoever called Hydra; the first has the number ``first``."""
    return _launches[-1][0](points, first, config)


def choose(points: Points) -> list[Sequence[str]]:
    """Return the points that are to be launched, whatever launcher there is."""
    return _launches[-1][1](points) if _launches else list(points)
