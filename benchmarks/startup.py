"""Claim 1: ``mmtrt --version`` answers at once, and reading verbs import nothing heavy."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.bench import Bench, typed
from benchmarks.rows import Section, beside, duration, spread, verdict
from benchmarks.timing import MeasurementFailed, interleave

VERSION_S, HELP_S = 0.060, 0.090
HEAVY = ("hydra", "omegaconf", "rich", "torch", "transformers", "onnxruntime", "numpy")


def measure(bench: Bench) -> Section:
    """Time ``--version`` and ``--help`` beside an empty Python process and the peers."""
    section = Section("Start")
    contenders = {
        "mmtrt": bench.mmtrt("--version"),
        "help": bench.mmtrt("--help"),
        "an empty Python process": bench.python("-c", "pass"),
    }
    for name in ("dvc", "snakemake"):
        process = bench.peer(name, "--version", cwd=bench.directory("empty"))
        contenders |= {name: process} if process is not None else {}
    timings = interleave(contenders, bench.rounds)
    others = ("an empty Python process", "dvc", "snakemake")
    section.add(
        "`mmtrt --version`",
        spread(timings["mmtrt"]),
        "; ".join(beside(name, timings.get(name), timings["mmtrt"]) for name in others),
        f"at most {duration(VERSION_S)}",
        verdict(timings["mmtrt"].median_s, at_most=VERSION_S),
    )
    section.add(
        "`mmtrt --help`",
        spread(timings["help"]),
        goal=f"at most {duration(HELP_S)}",
        verdict=verdict(timings["help"].median_s, at_most=HELP_S),
    )
    for word in ("--version", "--help", "ls"):
        found = heavy_imports(bench, word)
        section.add(
            f"heavy packages that `mmtrt {word}` imports",
            ", ".join(found) or "none",
            goal="none",
            verdict=verdict(len(found), at_most=0),
        )
    section.commands += [typed(each) for each in contenders.values()]
    section.commands.append("python -X importtime -m mmtrt --version")
    section.notes.append(f"Heavy: {', '.join(HEAVY)}.")
    return section


def heavy_imports(bench: Bench, *words: str) -> list[str]:
    """Return the heavy packages that a command line imports, by ``-X importtime``.

    Raises:
        MeasurementFailed: if the command fails.
    """
    process = bench.python("-X", "importtime", "-m", "mmtrt", *words)
    done = subprocess.run(
        [sys.executable, *process.argv[1:]], capture_output=True, text=True, cwd=process.cwd
    )
    if done.returncode != 0:
        raise MeasurementFailed(f"{typed(process)} exited with {done.returncode}")
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}
    return [name for name in HEAVY if name in imported]
