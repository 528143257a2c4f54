"""``mmtrt plan``: what would run, and why; sizes; findings."""

from __future__ import annotations

import json
import sys

from mmtrt.cli.arguments import parse
from mmtrt.cli.session import open_session
from mmtrt.report.colors import wants_color
from mmtrt.report.plan_view import plan_json, plan_text
from mmtrt.rules.check import find

USAGE = """\
mmtrt plan OVERRIDES... [-v] [--json [--symbolic]] [--detailed-exitcode] [-cd DIR]

Show every stage with its verdict: = in the store, + will run, ? may run, - skipped.
Nothing is started, nothing is written, no network is used.

  -v                    show the commands, ready to paste
  --json                the whole plan, for scripts
  --symbolic            with --json: {in.x} and {out} instead of paths
  --detailed-exitcode   exit 0: nothing to do, 10: work to do, 2: findings of severity error

  mmtrt plan recipe=llava variant=tiny
  mmtrt plan recipe=llava_next tp=2 -v
"""


def main(args: list[str]) -> int:
    """Print the plan; exit 2 if a rule finds an error."""
    arguments = parse(
        "plan", args, USAGE, ("-v", "--verbose", "--json", "--symbolic", "--detailed-exitcode")
    )
    if arguments is None:
        return 0
    session = open_session("plan", arguments)
    assessment = session.assess()
    findings = find(session.plan)
    if arguments.on("--json"):
        document = plan_json(assessment, findings, arguments.on("--symbolic"))
        print(json.dumps(document, indent=1, ensure_ascii=False))
    else:
        verbose = arguments.on("-v") or arguments.on("--verbose")
        print(plan_text(assessment, findings, wants_color(sys.stdout), verbose))
    if any(finding.severity == "error" for finding in findings):
        return 2
    pending = assessment.count("run") + assessment.count("maybe")
    return 10 if arguments.on("--detailed-exitcode") and pending else 0
