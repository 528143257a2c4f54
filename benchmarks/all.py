"""Measures everything: ``python -m benchmarks.all [--write] [--only NAME,...]``."""

from __future__ import annotations

import argparse
import compileall
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import (
    cached,
    check,
    composing,
    first_run,
    hashing,
    machine,
    micro,
    overhead,
    quantization,
    startup,
    sweep,
)
from benchmarks.bench import ROOT, Bench
from benchmarks.markdown import put_between, put_section, require_portable, to_markdown
from benchmarks.peers import DEFAULT, Peers, ensure
from benchmarks.rows import MISSED, Section
from benchmarks.timing import MeasurementFailed
from mmtrt.errors import MmtrtError

DOCUMENT = ROOT / "docs" / "benchmarks.md"
SECTIONS: dict[str, Callable[[Bench], Section]] = {
    "startup": startup.measure,
    "cached": cached.measure,
    "overhead": overhead.measure,
    "hashing": hashing.measure,
    "first_run": first_run.measure,
    "composing": composing.measure,
    "check": check.measure,
    "micro": micro.measure,
    "sweep": sweep.measure,
    "quantization": quantization.measure,
}


def main() -> int:
    """Measure, print, and write the table; 1 if a goal was missed or a measurement failed."""
    options = _parser().parse_args()
    # As pip leaves an installation, and as the peers were left: a checkout may never have been
    # compiled, and then every start compiles it anew.
    compileall.compile_dir(ROOT / "mmtrt", quiet=1)
    peers = ensure(options.peers) if options.install_peers else Peers(options.peers)
    with tempfile.TemporaryDirectory(prefix="mmtrt-bench-", dir=options.work) as work:
        bench = Bench(
            Path(work),
            peers,
            rounds=options.rounds,
            stages=options.stages,
            hash_bytes=int(options.hash_gib * (1 << 30)),
            b3sum=options.b3sum,
        )
        facts = machine.facts(bench)
        sections = [_measure(name, bench) for name in options.only]
        text = to_markdown(facts, sections)
        print(f"\n{text}")
        require_portable(text, [Path(work), ROOT, Path.home(), Path(tempfile.gettempdir())])
    if options.write:
        document = DOCUMENT.read_text(encoding="utf-8")
        if set(options.only) == set(SECTIONS):
            document = put_between(document, text)
        else:
            for section in sections:
                document = put_section(document, section, facts)
        DOCUMENT.write_text(document)
        print(f"written to {DOCUMENT.relative_to(ROOT)}", file=sys.stderr)
    rows = [row for section in sections for row in section.rows]
    return int(any(row.verdict in (MISSED, "failed") for row in rows))


def _measure(name: str, bench: Bench) -> Section:
    """Measure one section; one that fails must not cost the others."""
    print(f"{name}:", flush=True)
    try:
        return SECTIONS[name](bench)
    except (MeasurementFailed, MmtrtError, OSError) as error:
        print(f"  failed: {error}", file=sys.stderr)
        section = Section(name)
        section.add("not measured", "a command failed", verdict="failed")
        return section


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.all", description=__doc__)
    parser.add_argument(
        "--write", action="store_true", help="put the tables into docs; with --only just these"
    )
    parser.add_argument(
        "--only", type=_names, default=list(SECTIONS), help=f"of {','.join(SECTIONS)}"
    )
    parser.add_argument("--rounds", type=int, default=9, help="repetitions of short commands")
    parser.add_argument("--stages", type=int, default=200, help="stages of the long graph")
    parser.add_argument("--hash-gib", type=float, default=2, help="size of the file to hash")
    parser.add_argument("--b3sum", default="b3sum", help="its command")
    parser.add_argument("--peers", type=Path, default=DEFAULT, help="their virtual environment")
    parser.add_argument(
        "--no-install", dest="install_peers", action="store_false", help="take peers as they are"
    )
    parser.add_argument("--work", type=Path, help="where to work; default the temporary directory")
    return parser


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in SECTIONS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]} is none of {', '.join(SECTIONS)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
