"""``mmtrt pack [RUN]``: engines with all that running them takes, to be shipped."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mmtrt.cli.arguments import Arguments, parse
from mmtrt.errors import MmtrtError, UsageError

if TYPE_CHECKING:
    from mmtrt.report.targets import RunTarget

USAGE = """\
mmtrt pack [RUN] [-o DIR|FILE.tar|.tar.gz|.tar.zst] [--with-weights] [--json] [-cd DIR]

Put the engines of a run, its tokenizer and processor, the request that was asked, provenance, lock,
digests and a program that runs it all into one directory or archive. It runs anywhere that has the
runtime's packages, without mmtrt, store or network. Packing twice gives equal bytes.

  -o FILE         by default <recipe>-<variant>-<backend>.tar.gz
  --with-weights  also the weights of the original checkpoint, for runtimes that read them
  --store DIR, --runs DIR   as elsewhere

  mmtrt pack
  mmtrt pack llava -o llava.tar.zst
  tar xf llava.tar.zst && llava-tiny-native/run --input-text 'What colour is it?'
"""


def main(args: list[str]) -> int:
    """Write a pack."""
    switches, valued = ("--json", "--with-weights"), ("-o", "--output", "--store", "--runs")
    arguments = parse("pack", args, USAGE, switches, valued)
    if arguments is None:
        return 0
    if len(arguments.words) > 1:
        raise UsageError("mmtrt pack takes one run", code="CFG002", fix="mmtrt pack --help")
    from mmtrt.report.packing.contents import contents
    from mmtrt.report.packing.write import write_pack
    from mmtrt.report.places import place
    from mmtrt.report.targets import RunTarget, find_target
    from mmtrt.report.units import size_text

    runs = place("runs", arguments.text("--runs"), arguments.overrides)
    store = place("store", arguments.text("--store"), arguments.overrides)
    target = find_target(arguments.words[0] if arguments.words else None, runs, store)
    if not isinstance(target, RunTarget):
        raise UsageError(
            "mmtrt pack takes a run, not an artifact",
            code="CFG002",
            why="only a run says how its engines are asked",
        )
    run = target
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


def _lock(target: RunTarget, arguments: Arguments) -> str | None:
    """Return the lock of the run's recipe; ``None``, and a note, if it cannot be made here."""
    from mmtrt.artifacts.store import Store
    from mmtrt.config.compose import compose
    from mmtrt.config.recipe import resolve
    from mmtrt.host import probe
    from mmtrt.pins.lock_file import NAME, LockFile, lock_text
    from mmtrt.pins.resolve import entry_of

    dirs = tuple(arguments.config_dirs)
    try:
        if used := LockFile(target.directory / NAME).read():
            return lock_text(used)  # of a run that was locked, the pins that it used
        composed = compose(list(target.report.overrides), dirs)
        recipe = resolve(composed.settings, tuple(composed.overrides), composed.where, dirs)
        artifact = next(iter(target.artifacts.values()))
        resolved = entry_of(recipe, probe(), Store(artifact.directory.parent.parent))
    except MmtrtError as error:
        print(f"note: mmtrt.lock is left out: {error.message}", file=sys.stderr)
        return None
    return lock_text({resolved.name: resolved.entry})
