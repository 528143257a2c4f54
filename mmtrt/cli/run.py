"""``mmtrt run``, or no verb at all: run what the store lacks and print the answer."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmtrt.cli import locking
from mmtrt.cli.arguments import parse
from mmtrt.cli.session import Session, open_session
from mmtrt.errors import StageFailed
from mmtrt.report.display import make_display
from mmtrt.report.plan_view import heading
from mmtrt.report.recorded import RecordedRun, run_recorded
from mmtrt.report.scores import score_line
from mmtrt.report.units import duration_text
from mmtrt.rules.check import check_plan

USAGE = """\
mmtrt [run] OVERRIDES... [--json] [-q] [-cd DIR]
mmtrt run --plan FILE [--json] [-q]

Compose a recipe, size its engines, check it, run the stages that the store lacks, and print the
answer. Sizes and contradictions are settled before anything starts.

  --json       stages and result as one JSON document on standard output
  -q           only failures on standard error
  --plan FILE  carry out what `mmtrt plan -o FILE` saved; exit 4 if anything has changed since
  --locked     the pins of mmtrt.lock must describe this, else exit 4; MMTRT_LOCKED=1 does the same
  --unlocked   do not look at mmtrt.lock; without either, its pins are used where they fit
  --lock FILE  another lock file

  mmtrt recipe=llava variant=tiny
  mmtrt recipe=llava variant=tiny 'run.prompt="What shape is it?"'
  mmtrt recipe=llava variant=tiny quant=int8_wo until=build_llm
  mmtrt recipe=llava model.path=/models/llava-1.5-7b-hf force=build_llm
"""


def main(args: list[str]) -> int:
    """Run a recipe; hand Hydra's own switches to Hydra."""
    from mmtrt.config.overrides import needs_hydra

    if needs_hydra(args):
        from mmtrt.cli.multirun import main as hydra_main

        return hydra_main(args)
    arguments = parse(
        "run",
        args,
        USAGE,
        ("--json", "-q", "--quiet", *locking.SWITCHES),
        ("--plan", *locking.VALUED),
    )
    if arguments is None:
        return 0
    quiet = arguments.on("-q") or arguments.on("--quiet")
    if (plan := arguments.text("--plan")) is None:
        session = open_session("run", arguments)
        return run_session(session, as_json=arguments.on("--json"), quiet=quiet)
    from mmtrt.cli.saved_plan import open_saved, tell_moved

    session, saved = open_saved(plan, arguments)
    code = run_session(session, as_json=arguments.on("--json"), quiet=quiet)
    tell_moved(saved, session)
    return code


def run_session(session: Session, as_json: bool = False, quiet: bool = False) -> int:
    """Check and execute a planned recipe, print what came out, and return the exit code.

    Raises:
        RuleViolation: before anything starts, if a rule finds an error.
        Interrupted: on Ctrl-C.
    """
    checked = check_plan(session.plan)
    for finding in checked.findings:
        if finding.severity == "warning" and not quiet:
            print(finding.render(), file=sys.stderr)
    assessment = session.assess()
    stages = [node.id for node in session.plan.active()]
    if not quiet:
        print(heading(assessment), file=sys.stderr)
    display = make_display(stages, quiet)
    try:
        run = run_recorded(checked, session.store, (display.listen,), assessment, session.data)
    finally:
        display.close()
    if run.warning:
        print(f"warning: {run.warning}", file=sys.stderr)
    if session.pins is not None and run.directory is not None:
        locking.record_lock(session.pins.lock, [session.pins.name], run.directory)
    if as_json:
        print(json.dumps(run.document, indent=1, ensure_ascii=False))
    else:
        _print_answer(run.document["result"])
        for row in run.document["scores"]:
            print(score_line(row))
        if not quiet:
            print(_summary(run), file=sys.stderr)
    if run.result.failures:
        return StageFailed.exit_code
    if missed := run.missed_gate:
        print(missed.render(), file=sys.stderr)
        return missed.exit_code
    return 0


def _print_answer(result: Mapping[str, Any] | None) -> None:
    for request in (result or {}).get("requests", []):
        for image in request.get("images") or []:
            print(f"image:  {Path(image).name}")
        for medium in ("video", "audio"):
            if request.get(medium):
                print(f"{medium}:  {request[medium]}")
        # A tool may have asked with a text of its own, which its log does not always tell.
        if request["prompt"]:
            print(f"prompt: {request['prompt']}")
        print(f"answer: {request['text']}")


def _summary(run: RecordedRun) -> str:
    counts = {
        word: sum(stage.status == status for stage in run.result.stages)
        for status, word in (
            ("done", "built"),
            ("hit", "from the store"),
            ("failed", "failed"),
            ("skipped", "not started"),
        )
    }
    parts = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    where = "" if run.directory is None else f"; report: {run.directory / 'report.md'}"
    verdict = "Failed" if run.result.failures else "Done"
    return f"{verdict} in {duration_text(run.result.seconds)}: {parts}{where}"
