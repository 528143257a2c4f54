"""``mmtrt size``: the limits, where every number comes from, and numbers that agree."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from mmtrt.cli.arguments import Arguments, parse
from mmtrt.cli.session import open_session
from mmtrt.config.recipe import Recipe
from mmtrt.errors import UsageError
from mmtrt.plan.graph import Plan
from mmtrt.plan.rank_memory import cache_of, load_of, memory_of
from mmtrt.report.units import size_text

USAGE = """\
mmtrt size OVERRIDES... [--json] [-cd DIR]
mmtrt size OVERRIDES... --fix [-o DIR/GROUP/NAME.yaml] [--json] [-cd DIR]

Compute every limit of the engines from a workload, and the memory that they take, with the sum
behind each number.

  --fix     print these overrides, changed so that nothing is wrong with the sizes: to be pasted
            behind mmtrt. Exit 2, and nothing printed, if no numbers do that
  -o FILE   with --fix: write what has to change as YAML instead

  mmtrt size recipe=llava workload.batch_size=8
  mmtrt size recipe=llava_next workload.image_size=[480,640]
  mmtrt size recipe=llava max_batch_size=8 max_multimodal_len=576 --fix
"""


def main(args: list[str]) -> int:
    """Print the limits, or overrides that mend them."""
    arguments = parse("size", args, USAGE, ("--json", "--fix"), ("-o", "--output"))
    if arguments is None:
        return 0
    output = arguments.text("-o") or arguments.text("--output")
    if arguments.on("--fix"):
        return _fix(arguments, None if output is None else Path(output))
    if output is not None:
        raise UsageError(
            "mmtrt size: -o goes with --fix",
            code="CFG002",
            why="the limits themselves go to standard output",
            fix=shlex.join(["mmtrt", "size", *args, "--fix"]),
        )
    plan = open_session("size", arguments).plan
    if arguments.on("--json"):
        document = _document(plan.recipe) | {"memory": _memory_json(plan)}
        print(json.dumps(document, indent=1, ensure_ascii=False))
    else:
        _show(plan.recipe)
        for line in _memory_lines(plan):
            print(line)
    return 0


def _document(recipe: Recipe) -> dict[str, object]:
    sizing, local = recipe.sizing, recipe.local
    return {
        "schema": 1,
        "visual_features_per_request": sizing.features_per_request,
        "limits": {name: limit.to_json() for name, limit in sizing.limits.items()},
        "facts": {
            "from": list(local.files),
            "differ": {
                name: {"recipe": before, "model": after}
                for name, (before, after) in local.differ.items()
            },
        },
    }


def _show(recipe: Recipe) -> None:
    sizing, local = recipe.sizing, recipe.local
    demand, image = sizing.demand, sizing.image
    heard = sizing.features_per_request - demand.images_per_request * image.features
    print(
        f"visual features per request: {sizing.features_per_request}"
        f" = {demand.images_per_request} image(s) x {image.features} ({image.because})"
        + (f" + {heard} of the sound" if heard else "")
    )
    width = max(map(len, sizing.limits))
    for name, limit in sizing.limits.items():
        value = "-" if limit.value is None else str(limit.value)
        print(f"  {name:<{width}}  {value:>6}  {limit.source:<8}  {limit.because}")
    if local.differ:
        print(f"facts from {' and '.join(local.files)}:")
        for name, (before, after) in local.differ.items():
            said = "which the recipe leaves open" if before is None else f"the recipe says {before}"
            print(f"  {name} {'-' if after is None else after}, {said}")


def _memory_json(plan: Plan) -> dict[str, object] | None:
    """Return the memory of one rank; ``None`` where the model's weights are not known."""
    load = load_of(plan)
    if load is None:
        return None
    rank, full = memory_of(load), cache_of(load, load.batch)
    return {
        "kind": "computed",
        "bytes": rank.size_bytes,
        "parts": [part.to_json() for part in rank.parts],
        "not_counted": list(rank.not_counted),
        "full_kv_cache": None if full is None else full.to_json(),
    }


def _memory_lines(plan: Plan) -> Iterator[str]:
    load = load_of(plan)
    if load is None:
        yield "memory of the engines: the number of weights is not known"
        return
    rank, full = memory_of(load), cache_of(load, load.batch)
    yield f"memory of the engines, each rank: at least {size_text(rank.size_bytes)} (computed)"
    for part in rank.parts:
        yield f"  {part.name:<12}  {size_text(part.size_bytes):>9}  {part.because}"
    for each in rank.not_counted:
        yield f"  not counted: {each}"
    if full is not None and load.batch > load.requests:
        yield f"  of max_batch_size full requests the KV cache has {size_text(full.size_bytes)}"


def _fix(arguments: Arguments, output: Path | None) -> int:
    """Print or write overrides that agree; 2 if there are none."""
    from mmtrt.cli.fixing import check_place, mend, yaml_text

    if output is not None:
        check_place(output)
    mended = mend(arguments)
    if arguments.on("--json"):
        print(json.dumps(mended.to_json(), indent=1, ensure_ascii=False))
    for step in mended.steps:
        print(step, file=sys.stderr)
    if mended.left:
        for finding in mended.left:
            print(finding.render(), file=sys.stderr)
        print("no numbers make these findings vanish; nothing is changed", file=sys.stderr)
        return 2
    if not mended.steps:
        print("the sizes agree; there is nothing to fix", file=sys.stderr)
    elif output is not None:
        from mmtrt.artifacts.atomic import write_text

        write_text(output, yaml_text(mended, output))
        print(f"written to {output}; use it: {mended.launch(output)}", file=sys.stderr)
    if output is None and not arguments.on("--json"):
        print(mended.line)
    return 0
