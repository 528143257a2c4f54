"""``mmtrt plan``: what would run, and why; sizes; findings."""

from __future__ import annotations

import json
import sys

from mmtrt.cli import locking
from mmtrt.cli.arguments import asks_for_sweep, parse
from mmtrt.cli.session import open_session
from mmtrt.report.colors import wants_color
from mmtrt.report.plan_view import plan_json, plan_text
from mmtrt.rules.check import find

USAGE = """\
mmtrt plan OVERRIDES... [-v] [--json [--symbolic]] [--detailed-exitcode] [-o FILE] [-cd DIR]

Show every stage with its verdict: = in the store, + will run, ? may run, - skipped.
Nothing is started, no network is used, nothing is written but what -o asks for.

  -v                    show the commands, ready to paste
  --json                the whole plan, for scripts
  --symbolic            with --json: {in.x} and {out} instead of paths
  -o, --output FILE     save the plan for `mmtrt run --plan FILE`; - is standard output
  --locked              the pins of mmtrt.lock must describe this, else exit 4
  --unlocked            do not look at mmtrt.lock; without either, its pins are used where they fit
  --lock FILE           another lock file
  --detailed-exitcode   exit 0: nothing to do, 10: work to do, 2: findings of severity error

  mmtrt plan recipe=llava variant=tiny
  mmtrt plan recipe=llava_next tp=2 -v
  mmtrt plan -m recipe=llava,llava_next quant=none,int4_wo      every point, shared stages once
  mmtrt plan recipe=llava variant=tiny -o plan.json
"""


def main(args: list[str]) -> int:
    """Print the plan; exit 2 if a rule finds an error."""
    if asks_for_sweep(args):
        from mmtrt.cli.sweep_reading import plan as plan_sweep

        return plan_sweep(args, USAGE)
    switches = ("-v", "--verbose", "--json", "--symbolic", "--detailed-exitcode")
    valued = ("-o", "--output", *locking.VALUED)
    arguments = parse("plan", args, USAGE, (*switches, *locking.SWITCHES), valued)
    if arguments is None:
        return 0
    session = open_session("plan", arguments)
    assessment = session.assess()
    findings = find(session.plan)
    target = arguments.text("-o") or arguments.text("--output")
    is_broken = any(finding.severity == "error" for finding in findings)
    if target == "-" and not is_broken:
        pass  # the saved plan is what goes to standard output
    elif arguments.on("--json"):
        document = plan_json(assessment, findings, arguments.on("--symbolic"))
        print(json.dumps(document, indent=1, ensure_ascii=False))
    else:
        verbose = arguments.on("-v") or arguments.on("--verbose")
        print(plan_text(assessment, findings, wants_color(sys.stdout), verbose))
    if is_broken:
        if target is not None:
            print("The plan is not saved: it breaks a rule.", file=sys.stderr)
        return 2
    if target is not None:
        from mmtrt.cli.saved_plan import save

        save(session, assessment, target)
    pending = assessment.count("run") + assessment.count("maybe")
    return 10 if arguments.on("--detailed-exitcode") and pending else 0
