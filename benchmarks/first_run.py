"""Claim 5: how long a newcomer waits for the first answer of the demo."""

from __future__ import annotations

import itertools
import json

from benchmarks.bench import TINY, Bench, typed
from benchmarks.rows import Section, duration, spread, verdict
from benchmarks.timing import Sample, interleave

GOAL_S = 60.0
ROUNDS = 3


def measure(bench: Bench) -> Section:
    """Time the demo with an empty store, and its stages."""
    section = Section("The demo's first run")
    numbers = itertools.count()
    seconds: dict[str, list[float]] = {}

    def once() -> Sample:
        directory = bench.directory(f"first-{next(numbers)}")
        out = directory / "out.json"
        sample = bench.mmtrt(*TINY, "--json", cwd=directory, stdout=out)()
        for stage in json.loads(out.read_text())["stages"]:
            seconds.setdefault(stage["id"], []).append(stage["seconds"])
        return sample

    timing = interleave({"mmtrt": once}, ROUNDS, warmups=0)["mmtrt"]
    section.add(
        f"`mmtrt {' '.join(TINY)}`, nothing in the store",
        spread(timing),
        goal=f"at most {duration(GOAL_S)}",
        verdict=verdict(timing.median_s, at_most=GOAL_S),
    )
    for stage, values in seconds.items():
        section.add(f"its stage {stage}", duration(sorted(values)[len(values) // 2]))
    section.notes.append(
        f"The store is new in each of the {ROUNDS} runs; the page cache is warm. "
        "Stages on different branches overlap."
    )
    section.commands.append(typed(bench.mmtrt(*TINY, "--json")))
    return section
