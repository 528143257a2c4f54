"""In-process times of pytest-benchmark (``benchmarks/test_*.py``), as rows."""

from __future__ import annotations

import importlib.util
import json

from benchmarks.bench import ROOT, Bench, typed
from benchmarks.rows import Section, duration, verdict

GOALS_S = {
    "test_key_of_a_stage": 1e-3,
    "test_find_a_hit[1]": 1e-3,
    "test_find_a_hit[200]": 1e-3,
    "test_find_a_miss": 1e-3,
    "test_redact_64_kib_of_a_log": 13e-3,
}
"""Key and look-up together may cost a millisecond a stage; a tool that prints five megabytes a
second is not slowed down."""


def measure(bench: Bench) -> Section:
    """Run pytest-benchmark and take over its medians."""
    section = Section("In the process")
    if importlib.util.find_spec("pytest_benchmark") is None:
        section.add("key, look-up, composition", "", verdict="not installed")
        return section
    out = bench.work / "micro.json"
    words = ["-m", "pytest", "benchmarks", "-p", "no:cacheprovider"]
    bench.python(*words, f"--benchmark-json={out}", cwd=ROOT)()
    for each in json.loads(out.read_text())["benchmarks"]:
        name, stats = each["name"], each["stats"]
        goal = GOALS_S.get(name)
        section.add(
            name.removeprefix("test_").replace("_", " ").replace("[", ", files: ").rstrip("]"),
            f"{duration(stats['median'])} ({duration(stats['min'])} to {duration(stats['max'])})",
            goal="" if goal is None else f"at most {duration(goal)}",
            verdict="" if goal is None else verdict(stats["median"], at_most=goal),
        )
    section.commands.append(typed(bench.python(*words)))
    return section
