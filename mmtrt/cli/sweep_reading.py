"""``mmtrt plan -m`` and ``mmtrt check -m``: a sweep as a whole, before anything runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from mmtrt.cli import locking
from mmtrt.cli.arguments import MULTIRUN, Arguments, parse
from mmtrt.cli.sweep import Planning
from mmtrt.config.compose import Composer
from mmtrt.errors import RecipeError, UsageError
from mmtrt.plan.assess import Verdicts
from mmtrt.report.colors import wants_color
from mmtrt.report.findings import to_github, to_sarif
from mmtrt.report.sweep_view import (
    choices_of_sweep,
    findings_text,
    plan_text,
    sweep_json,
    told_json,
)
from mmtrt.rules.sweep import SweepPlan


def plan(args: list[str], usage: str) -> int:
    """Print the merged plan of a sweep; exit 2 if a point cannot run."""
    switches = ("-v", "--verbose", "--json", "--symbolic", "--detailed-exitcode")
    saving = ("-o", "--output")
    arguments = parse(
        "plan",
        args,
        usage,
        (*switches, *MULTIRUN, *locking.SWITCHES),
        (*saving, *locking.VALUED),
    )
    if arguments is None:
        return 0
    if any(arguments.text(name) for name in saving):
        raise UsageError(
            "a saved plan is of one point, not of a sweep",
            code="CFG002",
            why="`mmtrt run --plan` carries out one build",
            fix="mmtrt plan -o FILE with the overrides of one point; --json for scripts",
        )
    sweep, verdicts = _planned("plan", arguments)
    if arguments.on("--json"):
        document = sweep_json(sweep, verdicts, arguments.on("--symbolic"))
        print(json.dumps(document, indent=1, ensure_ascii=False))
    else:
        verbose = arguments.on("-v") or arguments.on("--verbose")
        print(plan_text(sweep, verdicts, wants_color(sys.stdout), verbose))
    if sweep.invalid:
        return sweep.exit_code
    pending = 0 if verdicts is None else verdicts.count("run") + verdicts.count("maybe")
    return 10 if arguments.on("--detailed-exitcode") and pending else 0


def check(args: list[str], usage: str) -> int:
    """Print every finding of every point, equal ones once; exit 2 if one is an error."""
    switches = ("--json", *MULTIRUN, *locking.SWITCHES)
    arguments = parse("check", args, usage, switches, ("--format", *locking.VALUED))
    if arguments is None:
        return 0
    form = "json" if arguments.on("--json") else arguments.text("--format") or "text"
    if form not in ("text", "json", "github", "sarif"):
        raise UsageError(
            f"mmtrt check: no format {form!r}", code="CFG002", fix="--format text|json|github|sarif"
        )
    sweep, _ = _planned("check", arguments)
    findings = [told.finding for told in sweep.told]
    if form == "json":
        choices = choices_of_sweep(sweep)
        document = {
            "schema": 1,
            "varied": list(choices.varied),
            "points": [
                {"id": entry.id, "overrides": choices.by_point[entry.id], "error": entry.error}
                for entry in sweep.entries
            ],
            "findings": [told_json(told) for told in sweep.told],
            "silenced": [
                {**silenced.to_json(), "points": list(names)} for silenced, names in sweep.silenced
            ],
        }
        print(json.dumps(document, indent=1, ensure_ascii=False))
    elif form == "sarif":
        sarif = to_sarif(findings, [silenced for silenced, _ in sweep.silenced])
        print(json.dumps(sarif, indent=1, ensure_ascii=False))
    elif form == "github":
        print(to_github(findings))
    else:
        if sweep.told:
            print(findings_text(sweep.told, choices_of_sweep(sweep)))
        errors = sum(finding.severity == "error" for finding in findings)
        others = len(findings) - errors
        count = f"{errors} error{'s' * (errors != 1)}, {others} warning{'s' * (others != 1)}"
        count += f", {len(sweep.silenced)} silenced" if sweep.silenced else ""
        print(f"{len(sweep.entries)} points: {count}")
    return sweep.exit_code if any(each.severity == "error" for each in findings) else 0


def _planned(verb: str, arguments: Arguments) -> tuple[SweepPlan, Verdicts | None]:
    """Return the merged plan of what the user typed, looked up in the store."""
    if arguments.words:
        raise UsageError(
            f"mmtrt {verb}: {arguments.words[0]!r} is no override",
            code="CFG002",
            why="overrides look like key=value",
            fix=f"mmtrt {verb} -m recipe={arguments.words[0]}",
        )
    planning = Planning(
        arguments.config_dirs, lock=locking.lock_use(arguments), words=arguments.overrides
    )
    points = expanded(planning.composer, arguments.overrides)
    return planning.assessed(planning.planned(points, for_this_host=False))


def expanded(composer: Composer, overrides: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the overrides of each point of a sweep.

    Raises:
        RecipeError: CFG108, if only a sweeper can tell them.
    """
    points = composer.expand(overrides)
    if points is None:
        raise RecipeError(
            "the points of this sweep are not known beforehand",
            code="CFG108",
            why="an interval says which values are possible, and a sweeper such as optuna picks",
            fix="give choices or a range, as in tp=1,2 or workload.batch_size=range(1,9)",
        )
    return points
