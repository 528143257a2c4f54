"""``mmtrt ls``: the recipes there are, and the named sweeps."""

from __future__ import annotations

import json
import sys

from mmtrt.cli.arguments import Arguments, meant_recipe, parse
from mmtrt.config.catalogue import recipes
from mmtrt.config.experiments import experiments
from mmtrt.errors import UsageError
from mmtrt.report.catalogue import entry_error, entry_json
from mmtrt.report.tables import write_table

USAGE = """\
mmtrt ls [experiments] [--json] [-cd DIR]

List the recipes: mmtrt's own, those below DIR/recipe, and those that installed packages bring.
A star marks the variant that is taken when none is named. A recipe that cannot be used is listed
with its error. `mmtrt ls experiments` lists the named sweeps instead: what each varies, and how to
start it.

  mmtrt ls
  mmtrt ls experiments
  mmtrt ls -cd my_recipes --json
"""


def main(args: list[str]) -> int:
    """Print the catalogue."""
    arguments = parse("ls", args, USAGE, ("--json",))
    if arguments is None:
        return 0
    if arguments.words == ["experiments"] and not arguments.overrides:
        return _experiments(arguments)
    if words := [*arguments.words, *arguments.overrides]:
        raise UsageError(
            f"mmtrt ls takes no {words[0]!r}",
            code="CFG002",
            fix=f"mmtrt show {recipe}" if (recipe := meant_recipe(words[0])) else "mmtrt log",
            why="it lists recipes; past runs are shown by log and report",
        )

    dirs = arguments.config_dirs
    entries = [(each, entry_error(each, dirs)) for each in recipes(dirs)]
    if arguments.on("--json"):
        document = {"schema": 1, "recipes": [entry_json(*each) for each in entries]}
        print(json.dumps(document, indent=1, ensure_ascii=False))
        return 0
    rows = [
        (
            entry.name,
            ", ".join(v + "*" * (v == entry.default_variant) for v in entry.variants),
            ", ".join(entry.quants),
            ", ".join(entry.backends),
            entry.readme_section,
            f"broken: {error.splitlines()[0]}" if error else entry.summary,
        )
        for entry, error in entries
    ]
    columns = ("RECIPE", "VARIANTS", "FORMATS", "BACKENDS", "README SECTION", "SUMMARY")
    write_table(sys.stdout, columns, rows)
    for _, error in entries:
        if error:
            print(error, file=sys.stderr)
    return 0


def _experiments(arguments: Arguments) -> int:

    found = experiments(arguments.config_dirs)
    if arguments.on("--json"):
        document = {"schema": 1, "experiments": [each.to_json() for each in found]}
        print(json.dumps(document, indent=1, ensure_ascii=False))
        return 0
    rows = [
        (
            each.name,
            " ".join(f"{key}={value}" for key, value in each.params.items()),
            f"broken: {each.error.splitlines()[0]}" if each.error else each.summary,
        )
        for each in found
    ]
    write_table(sys.stdout, ("EXPERIMENT", "VARIES", "SUMMARY"), rows)
    for each in found:
        if each.launch:
            print(f"  {each.launch}")
        if each.error:
            print(each.error, file=sys.stderr)
    return 0
