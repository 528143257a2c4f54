"""Claim 7: checking is cheap enough for a hook, and for every point of a large sweep."""

from __future__ import annotations

import sys

from benchmarks.bench import Bench, typed
from benchmarks.rows import Section, duration, spread, verdict
from benchmarks.timing import Contender, interleave

RECIPES = ("llava", "mllama")
"""The demo's family, and one with many stages and many rules that apply."""
COLD_S, MANY_S = 0.400, 2.0
CHECKS = 1000
MANY_ROUNDS = 5


def measure(bench: Bench) -> Section:
    """Time one check as a process, and a thousand inside of one.

    Goals are judged by processor time: a check waits for nothing but files in the page cache.
    """
    section = Section("Checking")
    cold: dict[str, Contender] = {name: bench.mmtrt("check", f"recipe={name}") for name in RECIPES}
    for name, timing in interleave(cold, bench.rounds).items():
        section.add(
            f"`mmtrt check recipe={name}`",
            spread(timing),
            goal=f"at most {duration(COLD_S)} of CPU",
            verdict=verdict(timing.cpu_s, at_most=COLD_S),
        )
    many = {
        name: bench.python("-m", "benchmarks.check", name, str(CHECKS))
        for name in ("none", *RECIPES)
    }
    timings = interleave(many, min(bench.rounds, MANY_ROUNDS))
    for name in RECIPES:
        section.add(
            f"{CHECKS} checks of recipe={name} in one process",
            spread(timings[name]),
            goal=f"at most {duration(MANY_S)} of CPU" if name == RECIPES[0] else "",
            verdict=verdict(timings[name].cpu_s, at_most=MANY_S) if name == RECIPES[0] else "",
        )
    section.notes.append(
        "In one process, a check is what every point of a sweep takes: resolving and sizing, "
        "planning, and every rule. Composing is measured above. Imports and one composition are "
        f"part of the time: an empty run of the same process takes {spread(timings['none'])}."
    )
    section.commands += [typed(bench.mmtrt("check", "recipe=llava")), typed(many["llava"])]
    return section


def check(recipe: str, times: int) -> None:
    """Compose once, then resolve, plan and check so many times."""
    from mmtrt.config.compose import compose
    from mmtrt.config.recipe import resolve
    from mmtrt.host import probe
    from mmtrt.plan.build import make_plan
    from mmtrt.rules.check import find

    host = probe()
    composed = compose([f"recipe={RECIPES[0] if recipe == 'none' else recipe}"])
    for _ in range(0 if recipe == "none" else times):
        found = resolve(composed.settings, composed.overrides, composed.where)
        find(make_plan(found, host))


if __name__ == "__main__":
    check(sys.argv[1], int(sys.argv[2]))
