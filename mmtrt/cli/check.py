"""``mmtrt check``: findings only."""

from __future__ import annotations

import json

from mmtrt.cli import locking
from mmtrt.cli.arguments import asks_for_sweep, parse
from mmtrt.cli.session import open_session
from mmtrt.errors import UsageError
from mmtrt.report.findings import to_github, to_sarif
from mmtrt.rules.check import find_all

USAGE = """\
mmtrt check OVERRIDES... [--json | --format text|json|github|sarif] [-cd DIR]

Show what is wrong with a recipe and these overrides, worst first, before anything is built.
Exit 2 if there is an error; warnings do not fail. --locked, --unlocked and --lock FILE as of
`mmtrt plan`.

A comment silences a finding that points to its line, or to the line below it; a reason is due:

  max_seq_len: 8192   # mmtrt: ignore[SIZ105] rope scaling is on

  mmtrt check recipe=llava max_batch_size=4 max_multimodal_len=576
  mmtrt check -m recipe=llava quant=none,int4_wo tp=1,2      equal findings of many points once
"""


def main(args: list[str]) -> int:
    """Print the findings; exit 2 if one is an error."""
    if asks_for_sweep(args):
        from mmtrt.cli.sweep_reading import check as check_sweep

        return check_sweep(args, USAGE)
    arguments = parse(
        "check", args, USAGE, ("--json", *locking.SWITCHES), ("--format", *locking.VALUED)
    )
    if arguments is None:
        return 0
    form = "json" if arguments.on("--json") else arguments.text("--format") or "text"
    if form not in ("text", "json", "github", "sarif"):
        raise UsageError(
            f"mmtrt check: no format {form!r}", code="CFG002", fix="--format text|json|github|sarif"
        )
    found = find_all(open_session("check", arguments).plan)
    findings, silenced = found.open, found.silenced
    if form == "json":
        document = {
            "schema": 1,
            "findings": [finding.to_json() for finding in findings],
            "silenced": [each.to_json() for each in silenced],
        }
        print(json.dumps(document, indent=1, ensure_ascii=False))
    elif form == "sarif":
        print(json.dumps(to_sarif(findings, silenced), indent=1, ensure_ascii=False))
    elif form == "github":
        print(to_github(findings))
    else:
        for finding in findings:
            print(finding.render())
        errors = sum(finding.severity == "error" for finding in findings)
        others = len(findings) - errors
        count = f"{errors} error{'s' * (errors != 1)}, {others} warning{'s' * (others != 1)}"
        print(f"{count}, {len(silenced)} silenced" if silenced else count)
    return 2 if any(finding.severity == "error" for finding in findings) else 0
