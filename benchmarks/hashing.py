"""Claim 4: contents are hashed about as fast as ``b3sum`` does, and not a second time."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from benchmarks.bench import TINY, Bench, typed
from benchmarks.counted import counted
from benchmarks.rows import MET, MISSED, Section, beside, spread, verdict
from benchmarks.timing import Process, Timing, interleave, ratio, timed
from mmtrt.artifacts import digest
from mmtrt.artifacts.store import Store

SHARE = 0.8
"""Of b3sum's throughput."""
FILES, FILE_BYTES = 200, 1 << 20
OLD_S = 60
"""Age given to files: what is younger than 2 s is hashed again on purpose."""


def measure(bench: Bench) -> Section:
    """Time one large file in the page cache; count hashes of unchanged files."""
    section = Section("Hashing")
    _throughput(section, bench)
    _counts(section, bench)
    return section


def _throughput(section: Section, bench: Bench) -> None:
    file = bench.directory("hashing") / "large.bin"
    _fill(file, bench.hash_bytes)
    contenders = {"mmtrt": timed(lambda: digest.hash_file(file))}
    if shutil.which(bench.b3sum):
        contenders["b3sum"] = Process([bench.b3sum, str(file)], file.parent, {})
    try:
        timings = interleave(contenders, bench.rounds)
    finally:
        file.unlink()
    ours, b3sum = timings["mmtrt"], timings.get("b3sum")
    section.add(
        f"`hash_file` of {bench.hash_bytes / (1 << 30):g} GiB, page cache warm",
        f"{_speed(bench.hash_bytes, ours)}; {spread(ours)}",
        beside("b3sum", b3sum, ours),
        f"at least {SHARE:.0%} of b3sum",
        "not installed" if b3sum is None else MET if ratio(b3sum, ours) >= SHARE else MISSED,
    )
    section.commands += [typed(each) for each in contenders.values() if isinstance(each, Process)]
    section.notes.append(
        "mmtrt hashes in its own process, b3sum is timed from its start to its end (milliseconds)."
    )


def _counts(section: Section, bench: Bench) -> None:
    tree = bench.directory("hashing") / "tree"
    tree.mkdir()
    for i in range(FILES):
        _fill(tree / f"{i}.bin", FILE_BYTES)
    root = bench.directory("hashing") / "store"
    first, second = _count(tree, root), _count(tree, root)
    os.utime(tree / "0.bin", (time.time() - OLD_S / 2,) * 2)
    third = _count(tree, root)
    shutil.rmtree(tree)
    section.add(
        f"files hashed again of {FILES} unchanged ones, by a new store object",
        f"{second} (first time {first}; after one was touched {third})",
        goal="0",
        verdict=verdict(second, at_most=0),
    )
    out = bench.directory("hashing") / "count"
    bench.python("-m", "benchmarks.counted", str(out), *TINY, cwd=bench.demo)()
    in_demo = int(out.read_text())
    section.add(
        "files hashed by the demo's second run",
        str(in_demo),
        goal="0",
        verdict=verdict(in_demo, at_most=0),
    )


def _count(tree: Path, root: Path) -> int:
    """Return how many files a new store object hashes: it knows only what is on the disk."""
    with counted() as count:
        Store(root).local_digest(tree)
    return count()


def _fill(file: Path, size: int) -> None:
    with file.open("wb") as out:
        for _ in range(size >> 20):
            out.write(os.urandom(1 << 20))
    os.utime(file, (time.time() - OLD_S,) * 2)


def _speed(size: int, timing: Timing) -> str:
    return f"{size / timing.median_s / 1e9:.1f} GB/s"
