"""``mmtrt pack [RUN]``: engines with all that running them takes, to be shipped."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mmtrt.artifacts.store import Store
from mmtrt.cli.arguments import Arguments, parse
from mmtrt.config.compose import compose
from mmtrt.config.recipe import resolve
from mmtrt.errors import MmtrtError, UsageError
from mmtrt.host import probe
from mmtrt.lock.lock_file import NAME, LockFile, lock_text
from mmtrt.lock.resolve import Resolver
from mmtrt.lock.tables import Lock
from mmtrt.pack.contents import contents
from mmtrt.pack.write import write_pack
from mmtrt.report.places import place
from mmtrt.report.sweep_points import points_of
from mmtrt.report.targets import RunTarget, find_target, read_run
from mmtrt.report.units import size_text

USAGE = """\
mmtrt pack [RUN] [--point POINT] [-o DIR|FILE.tar|.tar.gz|.tar.zst] [--with-weights] [--json]
           [-cd DIR]

Put the engines of a run, its tokenizer and processor, the request that was asked, provenance, lock,
digests and a program that runs it all into one directory or archive. It runs anywhere that has the
runtime's packages, without mmtrt, store or network. Packing twice gives equal bytes.

  --point POINT   one point of a sweep: its number, or overrides that no other point has; the same
                  as RUN:POINT
  -o FILE         by default <recipe>-<variant>-<backend>.tar.gz, of a point with its choices
  --with-weights  also the weights of the original checkpoint, for runtimes that read them
  --store DIR, --runs DIR   as elsewhere

  mmtrt pack
  mmtrt pack llava -o llava.tar.zst
  mmtrt pack sweep --point 3
  mmtrt pack sweep --point 'quant=int4_wo tp=2'
  tar xf llava.tar.zst && llava-tiny-native/run --input-text 'What colour is it?'
"""


def main(args: list[str]) -> int:
    """Write a pack."""
    switches, valued = (
        ("--json", "--with-weights"),
        ("-o", "--output", "--store", "--runs", "--point"),
    )
    arguments = parse("pack", args, USAGE, switches, valued)
    if arguments is None:
        return 0
    if len(arguments.words) > 1:
        raise UsageError("mmtrt pack takes one run", code="CFG002", fix="mmtrt pack --help")

    runs = place("runs", arguments.text("--runs"), arguments.overrides)
    store = place("store", arguments.text("--store"), arguments.overrides)
    name = arguments.words[0] if arguments.words else None
    target = find_target(name, runs, store, arguments.text("--point"))
    if not isinstance(target, RunTarget):
        raise UsageError(
            "mmtrt pack takes a run, not an artifact",
            code="CFG002",
            why="only a run says how its engines are asked",
        )
    run = _alone(target)
    with_weights = arguments.on("--with-weights")
    pack = contents(run, with_weights=with_weights, lock=lambda: _lock(run, arguments))
    for note in pack.notes:
        print(f"note: {note}", file=sys.stderr)
    chosen = arguments.text("-o") or arguments.text("--output")
    output = Path(chosen or f"{pack.name}.tar.gz")
    write_pack(pack, output)
    size = sum(item.size() for item in pack.items)
    if arguments.on("--json"):
        names = [item.name for item in pack.items]
        document = {"schema": 1, "output": str(output), "size_bytes": size, "files": names}
        print(json.dumps(document, indent=1, ensure_ascii=False))
    print(f"Wrote {output}: {len(pack.items)} files, {size_text(size)}", file=sys.stderr)
    return 0


def _alone(target: RunTarget) -> RunTarget:
    """Return the only point of a sweep that has one; anything else as it is."""
    points = points_of(target.directory) if target.point is None else []
    return read_run(target.directory, points[0]["id"]) if len(points) == 1 else target


def _lock(target: RunTarget, arguments: Arguments) -> str | None:
    """Return the lock of the run's recipe; ``None``, and a note, if it cannot be made here."""
    report, dirs = target.report, tuple(arguments.config_dirs)
    name = f"{report.recipe}/{report.variant}"
    artifact = next(iter(target.artifacts.values()))
    resolver = Resolver(probe(), store=Store(artifact.directory.parent.parent))
    try:
        # Of a run that was locked, the pins that it used.
        used = LockFile(target.directory / NAME).read().only([name])
        if used.recipes:
            return lock_text(used)
        composed = compose(list(report.overrides), dirs)
        recipe = resolve(composed.settings, tuple(composed.overrides), composed.where, dirs)
        return lock_text(resolver.locked(Lock(), name, [recipe]))
    except MmtrtError as error:
        print(f"note: mmtrt.lock is left out: {error.message}", file=sys.stderr)
        return None
