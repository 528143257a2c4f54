"""``mmtrt run``, or no verb at all: run what the store lacks and print the answer."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmtrt.cli.arguments import parse
from mmtrt.cli.session import Session, open_session
from mmtrt.errors import Interrupted, MmtrtError
from mmtrt.executor.loop import RunResult, execute
from mmtrt.plan.assess import Assessment
from mmtrt.report.display import Display, make_display
from mmtrt.report.plan_view import heading, plan_json
from mmtrt.report.record import RunRecord
from mmtrt.report.units import duration_text
from mmtrt.rules.check import CheckedPlan, check_plan

USAGE = """\
mmtrt [run] OVERRIDES... [--json] [-q] [-cd DIR]

Compose a recipe, size its engines, check it, run the stages that the store lacks, and print the
answer. Sizes and contradictions are settled before anything starts.

  --json       stages and result as one JSON document on standard output
  -q           only failures on standard error

  mmtrt recipe=llava variant=tiny
  mmtrt recipe=llava variant=tiny 'run.prompt="What shape is it?"'
  mmtrt recipe=llava variant=tiny quant=int8_wo until=build_llm
  mmtrt recipe=llava model.path=/models/llava-1.5-7b-hf force=build_llm
"""


def main(args: list[str]) -> int:
    """Run a recipe; hand Hydra's own switches to Hydra."""
    from mmtrt.config.hydra_app import needs_hydra

    if needs_hydra(args):
        from mmtrt.cli.multirun import main as hydra_main

        return hydra_main(args)
    arguments = parse("run", args, USAGE, ("--json", "-q", "--quiet"))
    if arguments is None:
        return 0
    session = open_session("run", arguments)
    quiet = arguments.on("-q") or arguments.on("--quiet")
    return run_session(session, as_json=arguments.on("--json"), quiet=quiet)


def run_session(session: Session, as_json: bool = False, quiet: bool = False) -> int:
    """Check and execute a planned recipe, and print what came out.

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
    record = RunRecord(Path(session.recipe.settings.paths.runs), session.recipe.name)
    try:
        return _run(session, checked, assessment, display, record, as_json, quiet)
    finally:
        display.close()
        record.close()
        if record.warning:
            print(f"warning: {record.warning}", file=sys.stderr)


def _run(
    session: Session,
    checked: CheckedPlan,
    assessment: Assessment,
    display: Display,
    record: RunRecord,
    as_json: bool,
    quiet: bool,
) -> int:
    record.write("plan.json", plan_json(assessment, checked.findings))
    record.write_yaml("resolved.yaml", session.data)
    try:
        result = execute(
            checked, session.store, (record.listen, display.listen), assessment=assessment
        )
    except MmtrtError as error:
        status = "interrupted" if isinstance(error, Interrupted) else "failed"
        record.write("result.json", {"schema": 1, "status": status, "error": error.render()})
        raise
    document = result_json(result, record.path)
    record.write("result.json", document)
    _write_report(record)
    if as_json:
        print(json.dumps(document, indent=1, ensure_ascii=False))
    else:
        _print_answer(document["result"])
        if not quiet:
            print(_summary(result, record.path), file=sys.stderr)
    return 1 if result.failures else 0


def result_json(result: RunResult, run_dir: Path | None) -> dict[str, Any]:
    """Return what ``mmtrt run --json`` promises."""
    return {
        "schema": 1,
        "run": None if run_dir is None else str(run_dir),
        "status": "failed" if result.failures else "done",
        "seconds": round(result.seconds, 3),
        "stages": [
            {
                "id": stage.id,
                "kind": stage.kind,
                "status": stage.status,
                "seconds": round(stage.seconds, 3),
                "artifact": None if stage.artifact is None else str(stage.artifact),
                "error": None if stage.error is None else stage.error.render(),
            }
            for stage in result.stages
        ],
        "result": _result(result),
    }


def _result(result: RunResult) -> dict[str, Any] | None:
    """Return the ``result.json`` of the run stage, if there is one."""
    for stage in result.stages:
        if stage.kind == "run" and stage.artifact is not None:
            path = stage.artifact / "result.json"
            if path.exists():
                document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
                return document
    return None


def _print_answer(result: Mapping[str, Any] | None) -> None:
    for request in (result or {}).get("requests", []):
        for image in request.get("images") or []:
            print(f"image:  {Path(image).name}")
        print(f"prompt: {request['prompt']}")
        print(f"answer: {request['text']}")


def _summary(result: RunResult, run_dir: Path | None) -> str:
    counts = {
        word: sum(stage.status == status for stage in result.stages)
        for status, word in (
            ("done", "built"),
            ("hit", "from the store"),
            ("failed", "failed"),
            ("skipped", "not started"),
        )
    }
    parts = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    where = "" if run_dir is None else f"; report: {run_dir / 'report.md'}"
    verdict = "Failed" if result.failures else "Done"
    return f"{verdict} in {duration_text(result.seconds)}: {parts}{where}"


def _write_report(record: RunRecord) -> None:
    if record.path is None:
        return
    from mmtrt.report.collect import collect
    from mmtrt.report.render import to_markdown

    (record.path / "report.md").write_text(to_markdown(collect(record.path)), encoding="utf-8")
