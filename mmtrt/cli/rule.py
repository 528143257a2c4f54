"""``mmtrt rule [CODE]``: what a rule checks, why, an example, what to write instead."""

from __future__ import annotations

import difflib
import json
import sys

from mmtrt.artifacts.codes import CODES
from mmtrt.cli.arguments import parse
from mmtrt.errors import UsageError
from mmtrt.report.tables import write_table
from mmtrt.rules.codes import RETIRED, RULES

USAGE = """\
mmtrt rule [CODE] [--json]

List the rules, or explain one of them by its code or its name.

  mmtrt rule
  mmtrt rule SIZ101
  mmtrt rule multimodal-len-too-small
"""


def main(args: list[str]) -> int:
    """Print the table of rules, or the documentation of one."""
    arguments = parse("rule", args, USAGE, ("--json",))
    if arguments is None:
        return 0
    words = [*arguments.words, *arguments.overrides]
    if len(words) > 1:
        raise UsageError(
            "mmtrt rule explains one rule at a time", code="CFG002", fix=f"mmtrt rule {words[0]}"
        )

    as_json = arguments.on("--json")
    if not words:
        if as_json:
            rules = [rule.to_json() for rule in RULES.values()]
            document = {"schema": 1, "rules": rules, "retired": RETIRED}
            print(json.dumps(document, indent=1, ensure_ascii=False))
        else:
            rows = [
                (rule.code, rule.name, rule.documentation.partition("\n")[0])
                for rule in RULES.values()
            ]
            write_table(sys.stdout, ("CODE", "NAME", "WHAT IT FLAGS"), rows)
        return 0
    asked = words[0]
    code = asked.upper()
    code = next((rule.code for rule in RULES.values() if rule.name == asked.lower()), code)
    if code in RETIRED:
        text = f"{code} is no longer used: {RETIRED[code]}"
        print(json.dumps({"code": code, "retired": RETIRED[code]}) if as_json else text)
        return 0
    if code not in RULES:
        raise _unknown(asked, code)
    rule = RULES[code]
    if as_json:
        print(json.dumps(rule.to_json(), indent=1, ensure_ascii=False))
    else:
        print(f"{rule.code} {rule.name}\n\n{rule.documentation}")
    return 0


def _unknown(asked: str, code: str) -> UsageError:

    if code in CODES:
        return UsageError(
            f"{code} is no rule but an error of the store: {CODES[code]}",
            code="CFG003",
            why="such an error carries its own reason and fix",
        )
    names = {rule.name: rule.code for rule in RULES.values()}
    near = difflib.get_close_matches(code, RULES, 1, 0.6) or [
        names[name] for name in difflib.get_close_matches(asked.lower(), names, 1, 0.5)
    ]
    return UsageError(
        f"there is no rule {asked!r}",
        code="CFG003",
        why=f"the rules are {', '.join(RULES)}",
        fix=f"mmtrt rule {near[0]}" if near else "mmtrt rule",
    )
