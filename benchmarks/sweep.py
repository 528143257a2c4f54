"""Claim 8: a sweep of a thousand points is planned and checked as a whole, in seconds."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from benchmarks.bench import ROOT, Bench, typed
from benchmarks.rows import Section, duration, spread, times, verdict
from benchmarks.timing import Process, Timing, interleave

COMMON = ("backend=fake", "eval.task=lmms-lab/ai2d")
GRID = ("recipe=llava,llava_next", "quant=none,int4_wo", "tp=1,2")
BATCHES = 125
POINTS = 8 * BATCHES
STAGES = 7
HYDRA_POINTS = 40
"""As many as tell what one costs; a thousand would take a minute."""
GOAL_S, GOAL_MB = 5.0, 100


def measure(bench: Bench) -> Section:
    """Time ``mmtrt plan -m`` of a thousand points and of one, and Hydra composing alone."""
    section = Section("A sweep of a thousand points")
    one = bench.mmtrt("plan", "-m", "recipe=llava", "quant=none", "tp=1", *COMMON)
    many = bench.mmtrt("plan", "-m", *GRID, f"workload.batch_size=range(1,{BATCHES + 1})", *COMMON)
    hydra = {
        count: bench.python(
            *("-m", "benchmarks.hydra_points", str(ROOT / "recipes"), str(count)),
            *("recipe=llava", "quant=none", "tp=1", *COMMON),
        )
        for count in (1, HYDRA_POINTS)
    }
    contenders = {"one": one, "many": many, "Hydra one": hydra[1], "Hydra": hydra[HYDRA_POINTS]}
    timings = interleave(contenders, max(3, bench.rounds // 3))
    ours = _each_s(timings["one"], timings["many"], POINTS)
    theirs = _each_s(timings["Hydra one"], timings["Hydra"], HYDRA_POINTS)
    section.add(
        f"`mmtrt plan -m`: {POINTS:,} points of {STAGES} stages composed, sized, planned, checked, "
        "merged and looked up",
        spread(timings["many"]),
        f"Hydra composing {POINTS:,} points and nothing else {duration(theirs * POINTS)} "
        f"({times(theirs / ours)})",
        f"at most {duration(GOAL_S)} of CPU",
        verdict(timings["many"].cpu_s, at_most=GOAL_S),
    )
    section.add("the same with one point", spread(timings["one"]))
    section.add("one point more", duration(ours), f"Hydra composing it {duration(theirs)}")
    peaks = {name: _peak_mb(process) for name, process in (("one", one), ("many", many))}
    growth = peaks["many"] - peaks["one"]
    section.add(
        f"peak memory with {POINTS:,} points over that with one",
        f"{growth:.0f} MB ({peaks['many']:.0f} MB, {peaks['one']:.0f} MB)",
        "",
        f"at most {GOAL_MB} MB",
        verdict(growth, at_most=GOAL_MB),
    )
    section.notes.append(
        f"Hydra's time is that of {HYDRA_POINTS} points less that of one, with its compose API in "
        "one process. Planning is one thread: on an idle machine its CPU time is its wall time. "
        "The store is empty, so nearly every stage is looked for in vain."
    )
    section.commands += [typed(many), typed(one), typed(hydra[HYDRA_POINTS])]
    return section


def _each_s(one: Timing, many: Timing, count: int) -> float:
    return (many.median_s - one.median_s) / (count - 1)


def _peak_mb(process: Process) -> float:
    """Return the most memory that a process held, in MB of 10^6 bytes."""
    child = subprocess.Popen(
        list(process.argv),
        cwd=Path(process.cwd),
        env={**os.environ, **process.env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_maxrss * 1024 / 1e6
