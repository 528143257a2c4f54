"""``mmtrt verify [RUN]``: are the files as recorded, and do the stages make them again."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from mmtrt.artifacts.store import Artifact
from mmtrt.artifacts.verify import Problem, verify_some
from mmtrt.cli.arguments import Arguments, parse
from mmtrt.errors import UsageError
from mmtrt.host import probe
from mmtrt.report.places import place
from mmtrt.report.rebuilds import Rebuild, rebuild
from mmtrt.report.targets import RunTarget, find_target
from mmtrt.report.units import duration_text

USAGE = """\
mmtrt verify [RUN|ARTIFACT] [--point POINT] [--rebuild STAGE,...|all] [--scratch DIR] [--json]

Hash every file of a run's artifacts again. With --rebuild, build stages once more beside what is
stored, from the commands and inputs in their manifests, and compare: byte by byte where the stage
promises that, else limits, inputs, outputs and what the engines compute. What is stored is not
touched. RUN is named as for `mmtrt report`; ARTIFACT is a path, KIND/KEY or a key, cut short.

  --point POINT   one point of a sweep: its number, or overrides that no other point has; the same
                  as RUN:POINT
  --scratch DIR   where the new output goes; else the store's staging area
  --store DIR, --runs DIR   as elsewhere

Exit codes: 0 all the same, 1 something differs.

  mmtrt verify
  mmtrt verify latest~1 --rebuild convert
  mmtrt verify build_llm/615e9c1b --rebuild all --json
"""


def main(args: list[str]) -> int:
    """Verify one run or artifact."""
    valued = ("--rebuild", "--scratch", "--store", "--runs", "--point")
    arguments = parse("verify", args, USAGE, ("--json",), valued)
    if arguments is None:
        return 0
    if len(arguments.words) > 1:
        raise UsageError("mmtrt verify takes one run", code="CFG002", fix="mmtrt verify --help")

    title, artifacts, gone = _chosen(arguments)
    chosen = _stages(arguments.text("--rebuild"), artifacts)
    as_json = arguments.on("--json")
    problems = []
    for problem in verify_some(artifact.directory for artifact in artifacts.values()):
        problems.append(problem)
        if not as_json:
            _print_problem(problem)
    errors = sum(problem.severity == "error" for problem in problems) + len(gone)
    rebuilds = []
    if chosen and not errors:
        rebuilds = _rebuild(chosen, artifacts, arguments.text("--scratch"), as_json)
    bad = sum(not each.is_good for each in rebuilds)
    if as_json:
        rows = [dataclasses.asdict(each) | {"path": str(each.path)} for each in problems]
        document = {
            "schema": 1,
            "target": title,
            "artifacts": len(artifacts),
            "gone": gone,
            "problems": rows,
            "rebuilds": [each.to_json() for each in rebuilds],
            "same": not errors and not bad,
        }
        print(json.dumps(document, indent=1, ensure_ascii=False))
    for stage, why in gone.items():
        print(f"error: the output of stage {stage} cannot be read: {why}", file=sys.stderr)
    print(_verdict(len(artifacts), errors, rebuilds, bool(chosen)), file=sys.stderr)
    return 1 if errors or bad else 0


def _chosen(arguments: Arguments) -> tuple[str, dict[str, Artifact], dict[str, str]]:
    """Return title, artifacts by stage, and what is gone."""
    runs = place("runs", arguments.text("--runs"), arguments.overrides)
    store = place("store", arguments.text("--store"), arguments.overrides)
    name = arguments.words[0] if arguments.words else None
    target = find_target(name, runs, store, arguments.text("--point"))
    if isinstance(target, RunTarget):
        print(target.title, file=sys.stderr)
        return target.title, dict(target.artifacts), dict(target.gone)
    return f"{target.kind}/{target.key}", {target.manifest.stage: target}, {}


def _stages(asked: str | None, artifacts: dict[str, Artifact]) -> list[str]:
    if asked is None:
        return []
    if asked == "all":
        return list(artifacts)
    names = [name.strip() for name in asked.split(",")]
    for name in names:
        if name not in artifacts:
            raise UsageError(
                f"there is no output of a stage {name!r}",
                code="CFG003",
                why=f"there are those of {', '.join(artifacts)}",
            )
    return names


def _rebuild(
    chosen: list[str], artifacts: dict[str, Artifact], scratch: str | None, as_json: bool
) -> list[Rebuild]:

    host, width = probe(), max(map(len, chosen))
    rebuilds = []
    for stage in chosen:
        where = None if scratch is None else Path(scratch)
        siblings = list(artifacts.values())
        done = rebuild(stage, artifacts[stage], host, siblings, where)
        rebuilds.append(done)
        if not as_json:
            _print_rebuild(done, width)
    return rebuilds


def _print_problem(problem: Problem) -> None:
    # As they are found: a large run takes minutes.
    print(f"{problem.severity}[{problem.code}]: {problem.message}\n  at: {problem.path}")
    sys.stdout.flush()


def _print_rebuild(done: Rebuild, width: int) -> None:

    took = f" ({duration_text(done.seconds)})" if done.seconds else ""
    first, *rest = done.detail.splitlines()
    print(f"{done.stage:<{width}}  {done.reproducible:<8}  {done.verdict:<10}  {first}{took}")
    for line in (*rest, *(f"  note: {note}" for note in done.notes)):
        print(f"{'':<{width}}  {line}")
    for each in done.differences[1:] if done.verdict == "differs" else ():
        print(f"{'':<{width}}  {each.path}: {each.detail or each.what}")
    sys.stdout.flush()


def _verdict(count: int, errors: int, rebuilds: list[Rebuild], wanted: bool) -> str:
    parts: list[Any] = [f"{count} artifact{'s' * (count != 1)} verified"]
    parts.append(f"{errors} problem{'s' * (errors != 1)}" if errors else "all as recorded")
    if wanted and errors:
        parts.append("nothing was built again")
    for word in ("same", "equivalent", "differs", "failed", "skipped"):
        number = sum(each.verdict == word for each in rebuilds)
        if number:
            parts.append(f"{number} {word}")
    return ", ".join(parts[:2]) + "".join(f", {part}" for part in parts[2:])
