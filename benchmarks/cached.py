"""Claim 2: a run that finds everything in the store, beside peers with an equal graph."""

from __future__ import annotations

from benchmarks import dag
from benchmarks.bench import TINY, Bench, typed
from benchmarks.rows import MET, MISSED, Section, beside, duration, spread, verdict
from benchmarks.timing import Contender, Process, interleave, ratio

GOAL_S, FASTER = 0.35, 3.0


def measure(bench: Bench) -> Section:
    """Time the demo's second run and the peers doing nothing, in the same rounds."""
    section = Section("Nothing to do: the demo's six stages")
    mmtrt = bench.mmtrt(*TINY, cwd=bench.demo)
    contenders: dict[str, Contender] = {"mmtrt": mmtrt}
    stages = []
    for name, prepare in (("dvc", dag.dvc), ("snakemake", dag.snakemake)):
        graph = bench.directory(f"{name}-demo")
        stages = dag.of_demo(bench.demo, graph)
        process = prepare(bench, stages, graph)
        if process is not None:
            process()
            dag.require_idle(process, graph)
            contenders[name] = process
    timings = interleave(contenders, bench.rounds)
    ours = timings["mmtrt"]
    section.add(
        f"`mmtrt {' '.join(TINY)}`, everything in the store",
        spread(ours),
        goal=f"at most {duration(GOAL_S)}",
        verdict=verdict(ours.median_s, at_most=GOAL_S),
    )
    for name, what in (("dvc", "dvc repro"), ("snakemake", "snakemake --cores 2")):
        other = timings.get(name)
        section.add(
            f"`{what}`",
            "not installed" if other is None else spread(other),
            "" if other is None else beside(name, other, ours),
            f"mmtrt at least {FASTER:g}x faster",
            "not installed" if other is None else MET if ratio(other, ours) >= FASTER else MISSED,
        )
    total = sum(size for stage in stages for size in stage.files.values())
    count = sum(len(stage.files) for stage in stages)
    names = ", ".join(stage.id for stage in stages)
    section.notes.append(
        f"The peers' graph has the {len(stages)} stages of `mmtrt plan {' '.join(TINY)}` ({names}) "
        f"with their edges, the same local inputs, and {count} files of the same names and sizes "
        f"({total / 1e6:.1f} MB). Before timing, it is checked that a peer builds nothing again."
    )
    section.commands += [typed(each) for each in contenders.values() if isinstance(each, Process)]
    return section
