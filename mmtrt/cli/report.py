"""``mmtrt report [RUN]``: what a run did, for people and for scripts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mmtrt.cli.arguments import parse
from mmtrt.errors import UsageError
from mmtrt.report.collect import collect
from mmtrt.report.html.page import record_page
from mmtrt.report.places import place
from mmtrt.report.render import to_json, to_markdown
from mmtrt.report.results import is_sweep
from mmtrt.report.runs import find_run
from mmtrt.report.sweep_points import find_point, of_point
from mmtrt.report.sweep_record import sweep_text
from mmtrt.report.targets import split_point

USAGE = """\
mmtrt report [RUN] [--format md|json|csv|html] [--json] [--html] [-o FILE] [--runs DIR]

Print the report of a run: stages with times and reasons, limits, findings, answers, timings, host.
RUN is a directory below outputs/runs, the beginning of its name, a recipe for its newest run, or
`last`, the default. A run that was killed is reported as far as it came. A sweep's report is the
table of its points, which --format csv gives to a spreadsheet; RUN:POINT is one of them by itself,
named by its number or by overrides that no other point has.

--html writes one file that needs no other and no network: report.html in the run's directory,
unless -o names another (- is standard output).

  mmtrt report
  mmtrt report llava -o report.md
  mmtrt report last --format json
  mmtrt report sweep:3
  mmtrt report --html
"""


def main(args: list[str]) -> int:
    """Print or write the report of one run."""
    switches, valued = ("--json", "--html"), ("--format", "-o", "--output", "--runs")
    arguments = parse("report", args, USAGE, switches, valued)
    if arguments is None:
        return 0
    form = "json" if arguments.on("--json") else arguments.text("--format") or "md"
    form = "html" if arguments.on("--html") else form
    if form not in ("md", "json", "csv", "html"):
        raise UsageError(
            f"mmtrt report: no format {form!r}", code="CFG002", fix="--format md|json|csv|html"
        )
    if len(arguments.words) > 1:
        raise UsageError(
            "mmtrt report takes one run", code="CFG002", fix=f"mmtrt report {arguments.words[0]}"
        )

    root = place("runs", arguments.text("--runs"), arguments.overrides)
    name, point = split_point(arguments.words[0] if arguments.words else None)
    record = find_run(root, name)
    report = None
    if point is not None:
        if form in ("csv", "html"):
            raise UsageError(
                f"--format {form} is of a whole sweep", code="CFG002", fix="--format md or json"
            )
        report = of_point(collect(record), find_point(record, point))
    target = arguments.text("-o") or arguments.text("--output")
    if report is None and form != "html" and (form == "csv" or is_sweep(record)):
        text = sweep_text(record, form)
    elif form == "html":
        text = record_page(record)
        target = target or str(record / "report.html")
    elif form == "json":
        text = json.dumps(to_json(report or collect(record)), indent=1, ensure_ascii=False) + "\n"
    else:
        text = to_markdown(report or collect(record))
    if target in (None, "-"):
        print(text, end="")
        return 0
    try:
        Path(target).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{target} cannot be written: {error.strerror}", code="CFG003", why=str(error)
        ) from error
    print(f"Wrote {target}", file=sys.stderr)
    return 0
