"""Claim 3: what the executor adds to the commands themselves."""

from __future__ import annotations

import itertools
import subprocess
import tempfile
from pathlib import Path

from benchmarks import chain, dag
from benchmarks.bench import Bench, typed
from benchmarks.rows import Section, beside, duration, spread, verdict
from benchmarks.timing import Timing, difference_s, interleave, timed

GOAL_S = 0.015
NOOP_S = 0.5 + 0.7 / 9
"""Between the goals for 100 stages (0.5 s) and 1,000 (1.2 s), on a straight line."""
FAST_DIRECTORY = Path("/dev/shm")
"""Memory as a file system, where there is one: the share of the disk is the difference."""


def measure(bench: Bench) -> Section:
    """Time many trivial stages beside the same commands in a bare loop; then do nothing."""
    section = Section(f"{bench.stages} trivial stages")
    rounds = max(3, bench.rounds // 3)
    places = {"disk": bench.directory("overhead")}
    with tempfile.TemporaryDirectory(dir=FAST_DIRECTORY if FAST_DIRECTORY.is_dir() else None) as m:
        if FAST_DIRECTORY.is_dir():
            places["memory"] = Path(m)
        for place, directory in places.items():
            for shape in ("chain", "wide"):
                _first_run(section, bench, rounds, place, directory, shape)
    _no_op(section, bench, rounds)
    section.notes.append(
        "Overhead: the wall time of a run less that of the same commands started by "
        f"`subprocess.run` one after the other, over {bench.stages}; one stage at a time "
        "(`executor.jobs=1`), so that nothing hides behind a second core. In a chain each stage "
        "reads the one before; wide stages read nothing. On disk every output is synced before it "
        "counts, in memory that costs nothing. Peers' first runs were timed once."
    )
    return section


def _first_run(
    section: Section, bench: Bench, rounds: int, place: str, directory: Path, shape: str
) -> None:
    numbers = itertools.count()

    def fresh(name: str) -> Path:
        path = directory / f"{shape}-{name}-{next(numbers)}"
        path.mkdir()
        return path

    def bare() -> None:
        root = fresh("bare")
        for i in range(bench.stages):
            out = root / f"s{i}"
            out.mkdir()
            subprocess.run(["sh", "-c", f"{chain.SCRIPT} # {i}", "sh", str(out)], check=True)

    def ours() -> None:
        chain.run(fresh("store"), bench.stages, shape, jobs=1)

    timings = interleave({"mmtrt": timed(ours), "bare": timed(bare)}, rounds)
    overhead_s = difference_s(timings["mmtrt"], timings["bare"]) / bench.stages
    cpu_s = (timings["mmtrt"].cpu_s - timings["bare"].cpu_s) / bench.stages
    has_goal = place == "disk"
    section.add(
        f"overhead a stage, first run, {shape}, {place}",
        f"{duration(overhead_s)} (CPU {duration(cpu_s)}); the run {spread(timings['mmtrt'])}",
        beside("bare loop", timings["bare"], timings["mmtrt"]),
        f"at most {duration(GOAL_S)}" if has_goal else "",
        verdict(overhead_s, at_most=GOAL_S) if has_goal else "",
    )


def _no_op(section: Section, bench: Bench, rounds: int) -> None:
    count = str(bench.stages)
    store = bench.directory("noop-store")
    run = bench.python("-m", "benchmarks.chain", str(store), count)
    run()
    contenders = {"mmtrt": run}
    first: dict[str, Timing] = {}
    for name, prepare in (("dvc", dag.dvc), ("snakemake", dag.snakemake)):
        graph = bench.directory(f"{name}-chain")
        process = prepare(bench, dag.chain(bench.stages), graph)
        if process is not None:
            first |= interleave({name: process}, rounds=1, warmups=0)
            dag.require_idle(process, graph)
            contenders[name] = process
    timings = interleave(contenders, rounds)
    ours = timings["mmtrt"]
    section.add(
        "nothing to do, chain, whole process",
        spread(ours),
        "; ".join(beside(name, timings.get(name), ours) for name in ("dvc", "snakemake")),
        f"at most {duration(NOOP_S)}",
        verdict(ours.median_s, at_most=NOOP_S),
    )
    for name in ("dvc", "snakemake"):
        if name in first:
            section.add(f"{name}: first run of the chain", duration(first[name].median_s))
    section.commands += [typed(each) for each in contenders.values()]
