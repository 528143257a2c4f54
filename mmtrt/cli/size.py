"""``mmtrt size``: the limits and where every number comes from."""

from __future__ import annotations

import json

from mmtrt.cli.arguments import parse
from mmtrt.cli.session import open_session

USAGE = """\
mmtrt size OVERRIDES... [--json] [-cd DIR]

Compute every limit of the engines from a workload, with the sum behind each number.

  mmtrt size recipe=llava workload.batch_size=8
  mmtrt size recipe=llava_next workload.image_size=[480,640]
"""


def main(args: list[str]) -> int:
    """Print the limits."""
    arguments = parse("size", args, USAGE, ("--json",))
    if arguments is None:
        return 0
    sizing = open_session("size", arguments).recipe.sizing
    if arguments.on("--json"):
        document = {
            "schema": 1,
            "visual_features_per_request": sizing.features_per_request,
            "limits": {name: limit.to_json() for name, limit in sizing.limits.items()},
        }
        print(json.dumps(document, indent=1))
        return 0
    demand, image = sizing.demand, sizing.image
    print(
        f"visual features per request: {sizing.features_per_request}"
        f" = {demand.images_per_request} image(s) x {image.features} ({image.because})"
    )
    width = max(map(len, sizing.limits))
    for name, limit in sizing.limits.items():
        value = "-" if limit.value is None else str(limit.value)
        print(f"  {name:<{width}}  {value:>6}  {limit.source:<8}  {limit.because}")
    return 0
