"""Times of processes and functions: interleaved rounds, medians, ratios. Knows nothing of mmtrt."""

from __future__ import annotations

import os
import shlex
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Contender = Callable[[], "Sample"]
"""Does the work once and says how long it took."""


class MeasurementFailed(Exception):
    """A command that was to be timed failed, so there is no time to tell."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One repetition."""

    wall_s: float
    cpu_s: float
    """User and system time of all processes that took part; steadier where cores are shared."""


@dataclass(frozen=True, slots=True)
class Timing:
    """The repetitions of one contender, in the order of the rounds."""

    samples: tuple[Sample, ...]

    @property
    def median_s(self) -> float:
        """Median wall time."""
        return statistics.median(sample.wall_s for sample in self.samples)

    @property
    def low_s(self) -> float:
        """Shortest wall time: the least disturbed repetition."""
        return min(sample.wall_s for sample in self.samples)

    @property
    def high_s(self) -> float:
        """Longest wall time."""
        return max(sample.wall_s for sample in self.samples)

    @property
    def cpu_s(self) -> float:
        """Median processor time."""
        return statistics.median(sample.cpu_s for sample in self.samples)


def interleave(
    contenders: Mapping[str, Contender], rounds: int, warmups: int = 1
) -> dict[str, Timing]:
    """Time contenders in turn (A B A B), so that a busy minute falls on all of them.

    Args:
        contenders: by name; each round calls every one once, in this order.
        rounds: repetitions that count.
        warmups: rounds before these, which do not: caches fill, files are compiled.
    """
    kept: dict[str, list[Sample]] = {name: [] for name in contenders}
    for number in range(warmups + rounds):
        for name, contender in contenders.items():
            sample = contender()
            if number >= warmups:
                kept[name].append(sample)
    return {name: Timing(tuple(samples)) for name, samples in kept.items()}


def ratio(one: Timing, other: Timing) -> float:
    """Return how many times longer ``one`` takes than ``other``: the median over the rounds.

    Round by round, because what disturbs a round disturbs both of its repetitions.
    """
    pairs = zip(one.samples, other.samples, strict=True)
    return statistics.median(a.wall_s / b.wall_s for a, b in pairs)


def difference_s(one: Timing, other: Timing) -> float:
    """Return how much longer ``one`` takes than ``other``: the median over the rounds."""
    pairs = zip(one.samples, other.samples, strict=True)
    return statistics.median(a.wall_s - b.wall_s for a, b in pairs)


def timed(function: Callable[[], object]) -> Contender:
    """Return a contender that calls a function of this process, its child processes included."""

    def contender() -> Sample:
        cpu, wall = _cpu_s(), time.perf_counter()
        function()
        return Sample(time.perf_counter() - wall, _cpu_s() - cpu)

    return contender


def _cpu_s() -> float:
    now = os.times()
    return now.user + now.system + now.children_user + now.children_system


@dataclass(frozen=True)
class Process:
    """A contender that is a process of its own, from its start to its end."""

    argv: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    """Added to this process's environment."""
    stdout: Path | None = None
    """Where its standard output goes; default nowhere."""

    def __call__(self) -> Sample:
        """Run it once.

        Raises:
            MeasurementFailed: if it does not exit with 0.
        """
        target = os.devnull if self.stdout is None else self.stdout
        with tempfile.TemporaryFile() as errors, Path(target).open("wb") as out:
            began = time.perf_counter()
            process = subprocess.Popen(
                list(self.argv),
                cwd=self.cwd,
                env={**os.environ, **self.env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
            )
            _, status, usage = os.wait4(process.pid, 0)
            wall_s = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode != 0:
                errors.seek(0)
                last = errors.read().decode(errors="replace").strip().splitlines()[-1:]
                raise MeasurementFailed(
                    f"{shlex.join(self.argv)} exited with {process.returncode}: {''.join(last)}"
                )
        return Sample(wall_s, usage.ru_utime + usage.ru_stime)
