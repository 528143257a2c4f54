"""``mmtrt doctor``: this host, its tools, and what each backend lacks."""

from __future__ import annotations

import json
import os
import sys

from mmtrt.cli.arguments import parse
from mmtrt.errors import UsageError
from mmtrt.host import probe
from mmtrt.report.colors import wants_color
from mmtrt.report.doctor import examine, to_text
from mmtrt.report.places import place

USAGE = """\
mmtrt doctor [--json] [--store DIR]

Show this host, its tools, the store, and what each backend lacks and how to get it. Nothing is
started, written or fetched; of a hub's token only whether one is set is looked at. Exit 0 always.

  --store DIR   the store to look at; else paths.store=DIR, $MMTRT_STORE or outputs/store

  mmtrt doctor
"""


def main(args: list[str]) -> int:
    """Print the examination."""
    arguments = parse("doctor", args, USAGE, ("--json",), ("--store",))
    if arguments is None:
        return 0
    if arguments.words:
        raise UsageError(
            f"mmtrt doctor takes no {arguments.words[0]!r}", code="CFG002", fix="mmtrt doctor"
        )

    root = place("store", arguments.text("--store"), arguments.overrides)
    document = examine(probe(), root, os.environ)
    if arguments.on("--json"):
        print(json.dumps(document, indent=1, ensure_ascii=False))
    else:
        print(to_text(document, wants_color(sys.stdout)), end="")
    return 0
