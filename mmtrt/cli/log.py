"""``mmtrt log [RUN] [STAGE]``: the stages of a run, or what one of them wrote."""

from __future__ import annotations

import codecs
import json
import sys
import time
from pathlib import Path

from mmtrt.artifacts.layout import STDERR, STDOUT
from mmtrt.cli.arguments import parse
from mmtrt.config.root import display
from mmtrt.errors import UsageError
from mmtrt.report.collect import Report, StageRow, collect
from mmtrt.report.places import place
from mmtrt.report.runs import find_run, recipe_of, run_dirs
from mmtrt.report.tables import write_table
from mmtrt.report.units import duration_text

USAGE = """\
mmtrt log [RUN] [STAGE] [-f] [--json] [--runs DIR]

List the stages of a run with their logs, or print the log of one stage. RUN is a directory below
outputs/runs, the beginning of its name, a recipe for its newest run, or `last`, the default.

  -f, --follow   go on printing while the stage runs; without STAGE: the one that runs now
  --runs DIR     where runs are recorded; else paths.runs=DIR, $MMTRT_RUNS or outputs/runs

  mmtrt log
  mmtrt log build_llm
  mmtrt log llava build_llm -f
"""

POLL_S = 0.2


def main(args: list[str]) -> int:
    """Print the table of stages, or a log."""
    arguments = parse("log", args, USAGE, ("-f", "--follow", "--json"), ("--runs",))
    if arguments is None:
        return 0
    root = place("runs", arguments.text("--runs"), arguments.overrides)
    run, stage = _chosen(root, arguments.words)
    report = collect(run)
    follow = arguments.on("-f") or arguments.on("--follow")
    if follow and stage is None:
        stage = next((row.id for row in report.stages if row.status == "running"), None)
    row = None if stage is None else report.stage(stage)
    if row is None and stage is not None:
        raise UsageError(
            f"run {run.name} has no stage {stage!r}",
            code="CFG003",
            why=f"its stages are {', '.join(row.id for row in report.stages)}",
        )
    if arguments.on("--json"):
        _print_json(report, row)
    elif row is None:
        _print_table(report)
    elif follow and row.status == "running":
        _follow(run, row)
    else:
        _print_log(row)
    return 0


def _chosen(root: Path, words: list[str]) -> tuple[Path, str | None]:
    """Return run and stage; a single word that names no run is a stage of the newest."""
    if len(words) > 2:
        raise UsageError("mmtrt log takes a run and a stage", code="CFG002", fix="mmtrt log --help")
    if len(words) == 2:
        return find_run(root, words[0]), words[1]
    if not words:
        return find_run(root), None
    known = run_dirs(root)
    is_run = Path(words[0]).is_dir() or any(recipe_of(run.name) == words[0] for run in known)
    if known and not is_run and collect(known[0]).stage(words[0]) is not None:
        return known[0], words[0]
    return find_run(root, words[0]), None


def _print_table(report: Report) -> None:
    rows = [
        (
            row.id,
            row.status,
            "" if row.seconds is None else duration_text(row.seconds),
            display(Path(row.logs[-1])) if row.logs else "-",
        )
        for row in report.stages
    ]
    print(f"{report.run}: {report.status}", file=sys.stderr)
    write_table(sys.stdout, ("STAGE", "STATUS", "TIME", "LOG"), rows, right="TIME")


def _print_json(report: Report, row: StageRow | None) -> None:
    rows = report.stages if row is None else (row,)
    stages = [
        {
            "id": each.id,
            "kind": each.kind,
            "status": each.status,
            "seconds": each.seconds,
            "logs": list(each.logs),
        }
        | ({} if row is None else {"text": {log: _text(Path(log)) for log in each.logs}})
        for each in rows
    ]
    document = {"schema": 1, "run": report.run, "status": report.status, "stages": stages}
    print(json.dumps(document, indent=1))


def _print_log(row: StageRow) -> None:
    """Print what the stage wrote; a heading a file where both have something, as tail does."""
    texts = [(log, text) for log in row.logs if (text := _text(Path(log)))]
    for log, text in texts:
        if len(texts) > 1:
            print(f"==> {log} <==")
        print(text, end="" if text.endswith("\n") else "\n")
    if not texts:
        what = "wrote nothing" if row.logs else f"has no log: {row.status}"
        print(f"stage {row.id} {what}", file=sys.stderr)


def _follow(run: Path, row: StageRow) -> None:
    """Print both logs as they grow, until the record says that the stage has ended."""
    printed = {STDOUT: 0, STDERR: 0}
    decoders = {name: codecs.getincrementaldecoder("utf-8")("replace") for name in printed}
    seen = "running"
    while True:
        # Looked at before the files, so that nothing written before the end is missed.
        current = collect(run).stage(row.id)
        for log in current.logs if current is not None else ():
            path = Path(log)
            chunk = _grown(path, printed[path.name])
            printed[path.name] += len(chunk)
            sys.stdout.write(decoders[path.name].decode(chunk))
        sys.stdout.flush()
        before, seen = seen, current.status if current is not None else "gone"
        # While an output moves to its place, its lock is gone and its end not yet told.
        if seen not in ("running", "interrupted") or before == seen == "interrupted":
            return
        time.sleep(POLL_S)


def _grown(path: Path, offset: int) -> bytes:
    """Return what was added to a log; nothing while it moves to its final place."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read()
    except OSError:
        return b""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return f"({error.strerror})"
