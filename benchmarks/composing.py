"""Claim 6: what composing costs, and the reading verbs."""

from __future__ import annotations

from benchmarks.bench import ROOT, Bench, typed
from benchmarks.rows import Section, beside, duration, spread, verdict
from benchmarks.timing import Contender, Process, interleave

ASKED = ("recipe=llava_next", "tp=2")
PLAN_S, LS_S = 0.200, 0.090


def measure(bench: Bench) -> Section:
    """Time plan and check, and a bare Hydra beside them."""
    section = Section("Composing and reading")
    hydra = bench.python("-m", "benchmarks.plain_hydra", str(ROOT / "recipes"), *ASKED)
    contenders: dict[str, Contender] = {
        "plan": bench.mmtrt("plan", *ASKED),
        "check": bench.mmtrt("check", *ASKED),
        "ls": bench.mmtrt("ls"),
        "plain Hydra": hydra,
    }
    timings = interleave(contenders, bench.rounds)
    goals = {"plan": PLAN_S, "ls": LS_S}
    whats = {
        "plan": f"`mmtrt plan {' '.join(ASKED)}`",
        "check": f"`mmtrt check {' '.join(ASKED)}`",
        "ls": "`mmtrt ls`",
    }
    for name, what in whats.items():
        ours, goal = timings[name], goals.get(name)
        section.add(
            what,
            spread(ours),
            "" if name == "ls" else beside("plain Hydra", timings["plain Hydra"], ours),
            "" if goal is None else f"at most {duration(goal)}",
            "" if goal is None else verdict(ours.median_s, at_most=goal),
        )
    section.notes.append(
        "Plain Hydra: a process that imports Hydra, composes the same overrides with its compose "
        "API and resolves them, and does nothing else."
    )
    section.commands += [typed(each) for each in contenders.values() if isinstance(each, Process)]
    return section
