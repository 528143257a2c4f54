"""``mmtrt show RECIPE``: one recipe, with everything that it decides by itself."""

from __future__ import annotations

import json
import sys

from mmtrt.cli.arguments import parse
from mmtrt.config.catalogue import recipe_path
from mmtrt.config.compose import compose
from mmtrt.config.recipe import Recipe, resolve
from mmtrt.config.root import display
from mmtrt.errors import UsageError
from mmtrt.report import recipe_view
from mmtrt.report.tables import plain, write_table

USAGE = """\
mmtrt show RECIPE [OVERRIDES...] [--json] [-cd DIR]

Show what a recipe makes and needs, its variants, stages, limits with their sources, formats and
sessions, and how to launch it.

  mmtrt show llava
  mmtrt show llava variant=tiny workload.batch_size=4
"""


def main(args: list[str]) -> int:
    """Print one recipe."""
    arguments = parse("show", args, USAGE, ("--json",))
    if arguments is None:
        return 0
    words = list(arguments.words)
    named = [word for word in arguments.overrides if word.startswith("recipe=")]
    words += [word.removeprefix("recipe=") for word in named]
    if len(words) != 1:
        raise UsageError(
            "mmtrt show needs one recipe",
            code="CFG002",
            fix="mmtrt show llava   # mmtrt ls lists them",
        )
    if words[0] in ("last", "run", "runs"):
        raise UsageError(
            f"mmtrt show is of a recipe, and {words[0]!r} is none",
            code="CFG002",
            why="past runs are shown by log and report",
            fix="mmtrt report",
        )
    path = recipe_path(words[0], arguments.config_dirs)
    overrides = [word for word in arguments.overrides if word not in named]
    composed = compose([f"recipe={words[0]}", *overrides], arguments.config_dirs)
    recipe = resolve(composed.settings, composed.overrides, composed.where)
    if arguments.on("--json"):
        document = recipe_view.recipe_json(recipe, path)
        print(json.dumps(document, indent=1, ensure_ascii=False))
        return 0
    file = recipe.file
    print(f"{file.name}: {file.title}\n{file.summary}\n")
    for line in recipe_view.header(path):
        print(f"  {line}".rstrip())
    print(f"\nREADME section: {file.readme_section}\nfile: {display(path)}\n\nVariants")
    write_table(
        sys.stdout,
        ("VARIANT", "MODEL", "LICENCE", "BACKEND"),
        [
            (
                name + "*" * (name == file.default_variant),
                recipe_view.variant_source(variant),
                variant.license or "-",
                variant.backend or "auto",
            )
            for name, variant in file.variants.items()
        ],
    )
    print("\nStages")
    for line in _stage_rows(recipe):
        print(f"  {line}")
    features = recipe.sizing.features_per_request
    print(f"\nLimits of variant {recipe.variant_name}; {features} visual features per request")
    write_table(
        sys.stdout,
        ("LIMIT", "VALUE", "SOURCE", "BECAUSE"),
        [
            (name, "-" if limit.value is None else str(limit.value), limit.source, limit.because)
            for name, limit in recipe.sizing.limits.items()
        ],
        right="VALUE",
    )
    formats = (
        f"{name} ({', '.join(options.backends)})" if options.backends else name
        for name, options in file.quants.items()
    )
    print(f"\nformats:  {', '.join(formats)}")
    print(f"sessions: {', '.join(file.sessions) or '-'}")
    print(f"backends: {', '.join(file.backends)}\n\nLaunch")
    for line in recipe_view.launch_lines(path, path.stem):
        print(f"  {line}")
    return 0


def _stage_rows(recipe: Recipe) -> list[str]:
    """Return one line a stage, indented by how many stages come before it."""
    lines = recipe_view.stage_lines(recipe.stages)
    rows = []
    for line in lines:
        title = line.id if line.id == line.kind else f"{line.id} ({line.kind})"
        needs = ", ".join(f"{port} <- {source}" for port, source in line.needs.items())
        rows.append(("  " * line.depth + title, needs))
    return plain(("", ""), rows).splitlines()[1:]
