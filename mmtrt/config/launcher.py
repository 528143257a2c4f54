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


Launch = Callable[[Sequence[Sequence[str]], int, Any], Sequence[Outcome]]
"""Takes the overrides of each point, the number of the first, and Hydra's own configuration."""

_launches: list[Launch] = []
"""Who takes the points of the sweep that runs just now."""


@contextlib.contextmanager
def launching(launch: Launch) -> Iterator[None]:
    """Let the sweeps inside hand their points to ``launch``."""
    _launches.append(launch)
    try:
        yield
    finally:
        _launches.pop()


def launch(points: Sequence[Sequence[str]], first: int, config: Any) -> Sequence[Outcome]:
    """Hand points to whoever called Hydra; the first has the number ``first``."""
    return _launches[-1](points, first, config)
