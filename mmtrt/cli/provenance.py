"""``mmtrt provenance [RUN|ARTIFACT] [STAGE]``: what made it, for other tools."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from mmtrt.artifacts.atomic import write_text
from mmtrt.cli.arguments import parse
from mmtrt.errors import UsageError
from mmtrt.provenance.build import Build, build_of
from mmtrt.provenance.cyclonedx import to_cyclonedx
from mmtrt.provenance.slsa import to_slsa
from mmtrt.report.places import place
from mmtrt.report.targets import RunTarget, find_target

USAGE = """\
mmtrt provenance [RUN|ARTIFACT] [STAGE] [--point POINT] [--format slsa|cyclonedx] [-o FILE]

Print what made the engines of a run, or one artifact with all that it was made from:

  slsa        an in-toto statement with SLSA provenance v1, the default
  cyclonedx   a bill of materials, CycloneDX 1.6 with models, data sets and tools

RUN is named as for `mmtrt report`; ARTIFACT is a path, KIND/KEY or a key, cut short. Both formats
are JSON, and need: pip install 'mmtrt[provenance]'.

  --point POINT   one point of a sweep: its number, or overrides that no other point has; the same
                  as RUN:POINT
  -o FILE         write a file
  --json          the same as without: for scripts that give it to every verb
  --store DIR, --runs DIR   as elsewhere

  mmtrt provenance
  mmtrt provenance llava build_llm --format slsa -o llm.intoto.json
  mmtrt provenance llava --format cyclonedx -o llava.cdx.json
"""

FORMATS = ("slsa", "cyclonedx")


def main(args: list[str]) -> int:
    """Print or write the provenance."""
    valued = ("--format", "-o", "--output", "--store", "--runs", "--point")
    arguments = parse("provenance", args, USAGE, ("--json",), valued)
    if arguments is None:
        return 0
    form = arguments.text("--format") or "slsa"
    if form not in FORMATS:
        raise UsageError(
            f"mmtrt provenance: no format {form!r}",
            code="CFG002",
            fix=f"--format {'|'.join(FORMATS)}",
        )
    if len(arguments.words) > 2:
        raise UsageError("mmtrt provenance takes a run and a stage", code="CFG002")

    runs = place("runs", arguments.text("--runs"), arguments.overrides)
    store = place("store", arguments.text("--store"), arguments.overrides)
    name = arguments.words[0] if arguments.words else None
    target = find_target(name, runs, store, arguments.text("--point"))
    if len(arguments.words) == 2:
        if not isinstance(target, RunTarget):
            raise UsageError("an artifact has no stages", code="CFG002", fix="leave STAGE out")
        artifact = target.one(arguments.words[1])
        store, target = artifact.directory.parent.parent, artifact
    text = writer(form)(build_of(target, store))
    output = arguments.text("-o") or arguments.text("--output")
    if output is None:
        print(text, end="")
        return 0
    write_text(Path(output), text)
    print(f"Wrote {output}", file=sys.stderr)
    return 0


def writer(form: str) -> Callable[[Build], str]:
    """Return what writes a format."""
    if form == "slsa":
        return to_slsa

    return to_cyclonedx
