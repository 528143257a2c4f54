"""``mmtrt cache ls|du|verify|gc``: look after the store."""

from __future__ import annotations

import dataclasses
import difflib
import json
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path

from mmtrt.artifacts.store import Store
from mmtrt.artifacts.verify import Problem
from mmtrt.cli.arguments import Arguments, parse
from mmtrt.errors import ArtifactError, UsageError
from mmtrt.report.places import place
from mmtrt.report.store_view import (
    age_text,
    bytes_of,
    keys_in_use,
    list_json,
    seconds_of,
    usage_json,
)
from mmtrt.report.tables import write_table
from mmtrt.report.units import duration_text, size_text

USAGE = """\
mmtrt cache ls     [--kind KIND]                 what is in the store
mmtrt cache du                                   disk space; files shared by links count once
mmtrt cache verify [--kind KIND]                 hash every file again; exit 1 if one is damaged,
                                                 and set its artifact aside
mmtrt cache gc     [--older-than AGE] [--max-size SIZE] [--dry-run] [--all]

gc removes what was not used for AGE, then, least recently used first, as much as it takes for the
store to fit SIZE; without either, everything. What the newest run of each recipe used stays, unless
--all. Nothing is asked: try --dry-run first.

  --json        for scripts
  --store DIR   the store; else paths.store=DIR, $MMTRT_STORE or outputs/store
  --runs DIR    gc: the records that say what is in use; else paths.runs=DIR, $MMTRT_RUNS or
                outputs/runs

  mmtrt cache ls --kind build_llm
  mmtrt cache gc --older-than 30d --max-size 50GiB --dry-run
"""

KEY_DIGITS = 12


def main(args: list[str]) -> int:
    """Run one of the four."""
    switches = ("--json", "--dry-run", "--all")
    valued = ("--store", "--runs", "--kind", "--older-than", "--max-size")
    arguments = parse("cache", args, USAGE, switches, valued)
    if arguments is None:
        return 0
    words = arguments.words
    if len(words) != 1 or words[0] not in VERBS:
        near = difflib.get_close_matches(words[0], VERBS, 1, 0.4) if words else []
        raise UsageError(
            f"mmtrt cache has no {' '.join(words)!r}" if words else "mmtrt cache needs a verb",
            code="CFG002",
            why=f"its verbs are {', '.join(VERBS)}",
            fix=f"mmtrt cache {near[0] if near else 'ls'}",
        )
    _check_switches(words[0], arguments)

    root = place("store", arguments.text("--store"), arguments.overrides)
    if not root.is_dir():
        print(f"there is no store at {root}", file=sys.stderr)
    return VERBS[words[0]](root, arguments)


def _ls(root: Path, arguments: Arguments) -> int:

    def warn(path: Path, why: str) -> None:
        print(f"warning: {path} is left out: {why}", file=sys.stderr)

    document = list_json(Store(root), arguments.text("--kind"), warn)
    if arguments.on("--json"):
        print(json.dumps(document, indent=1, ensure_ascii=False))
        return 0
    now = datetime.now(timezone.utc)

    def age(moment: str) -> str:
        try:
            return age_text((now - datetime.fromisoformat(moment)).total_seconds())
        except (TypeError, ValueError):  # written by another tool, without time zone
            return "?"

    rows = [
        (
            row["kind"],
            row["key"][:KEY_DIGITS],
            row["model"] + (" (fake)" if row["fake"] else ""),
            size_text(row["size_bytes"]),
            age(row["created"]),
            duration_text(row["seconds"]),
            age(row["used"]),
        )
        for row in document["artifacts"]
    ]
    columns = ("KIND", "KEY", "MODEL", "SIZE", "AGE", "BUILT-IN", "LAST-USE")
    write_table(sys.stdout, columns, rows, right="SIZE AGE BUILT-IN LAST-USE")
    return 0


def _du(root: Path, arguments: Arguments) -> int:

    document = usage_json(Store(root))
    if arguments.on("--json"):
        print(json.dumps(document, indent=1, ensure_ascii=False))
        return 0
    rows = [
        (
            row["kind"],
            str(row["count"]),
            size_text(row["size_bytes"]),
            size_text(row["added_bytes"]),
        )
        for row in document["kinds"]
    ]
    write_table(sys.stdout, ("KIND", "COUNT", "SIZE", "ADDED"), rows, right="COUNT SIZE ADDED")
    print(f"total   {size_text(document['total_bytes'])}")
    print(f"shared  {size_text(document['shared_bytes'])} are saved by links")
    print(f"free    {size_text(document['free_bytes'])}")
    return 0


def _verify(root: Path, arguments: Arguments) -> int:

    store, kind = Store(root), arguments.text("--kind")
    count = sum(1 for _ in store.directories(kind))
    problems = []
    for problem in store.verify(kind):
        problems.append(problem)
        if not arguments.on("--json"):
            # As they are found: a large store takes minutes.
            print(f"{problem.severity}[{problem.code}]: {problem.message}\n  at: {problem.path}")
            sys.stdout.flush()
    errors = [problem for problem in problems if problem.severity == "error"]
    aside = _set_aside(store, errors)
    if arguments.on("--json"):
        rows = [dataclasses.asdict(p) | {"path": str(p.path)} for p in problems]
        document = {"schema": 1, "root": str(store.root), "artifacts": count, "problems": rows}
        document["set_aside"] = [str(path) for path in aside]
        print(json.dumps(document, indent=1, ensure_ascii=False))
    verdict = f"{len(errors)} problem{'s' * (len(errors) != 1)}" if errors else "all as recorded"
    print(f"{count} artifact{'s' * (count != 1)} verified: {verdict}", file=sys.stderr)
    if aside:
        print(
            f"{len(aside)} set aside, so that no run takes what is damaged\n"
            "fix: run the recipe again, it makes them anew; "
            "mmtrt cache gc gives back their space",
            file=sys.stderr,
        )
    return 1 if errors else 0


def _set_aside(store: Store, errors: Sequence[Problem]) -> list[Path]:
    """Take damaged artifacts out of the store; say which cannot be."""
    aside = []
    for kind, key in dict.fromkeys((each.kind, each.key) for each in errors):
        if kind is None or key is None:
            continue
        try:
            place = store.set_aside(store.directory_of(kind, key))
        except ArtifactError as error:
            print(error.render(), file=sys.stderr)
        else:
            aside += [place] if place is not None else []
    return aside


def _gc(root: Path, arguments: Arguments) -> int:

    age, size = arguments.text("--older-than"), arguments.text("--max-size")
    older_than_s = None if age is None else seconds_of(age)
    budget = None if size is None else bytes_of(size)
    runs = place("runs", arguments.text("--runs"), arguments.overrides)
    keep = frozenset() if arguments.on("--all") else keys_in_use(runs)
    if not keep and not arguments.on("--all") and age is None and size is None and root.is_dir():
        raise UsageError(
            "mmtrt cache gc would empty the store",
            code="CFG003",
            why=f"no run is recorded below {runs}, so nothing tells what is in use",
            fix="--runs DIR, a limit such as --older-than 30d, or --all if that is meant",
        )
    dry = arguments.on("--dry-run")
    removals = Store(root).gc(keep, older_than_s, budget, dry) if root.is_dir() else []
    freed = sum(row.freed_bytes for row in removals if row.action != "kept")
    if arguments.on("--json"):
        rows = [dataclasses.asdict(row) | {"path": str(row.path)} for row in removals]
        document = {"schema": 1, "dry_run": dry, "freed_bytes": freed, "removals": rows}
        print(json.dumps(document, indent=1, ensure_ascii=False))
        return 0
    table = [
        (
            row.action,
            row.kind,
            row.key[:KEY_DIGITS],
            row.name,
            size_text(row.size_bytes),
            row.reason,
        )
        for row in removals
    ]
    if table:
        columns = ("ACTION", "KIND", "KEY", "MODEL", "SIZE", "WHY")
        write_table(sys.stdout, columns, table, right="SIZE")
    count = sum(row.action != "kept" for row in removals)
    verbs = ("would be removed", "would be freed") if dry else ("removed", "freed")
    note = f"; {len(keep)} in use are kept" if keep else ""
    print(f"{count} {verbs[0]}, {size_text(freed)} {verbs[1]}{note}", file=sys.stderr)
    return 0


VERBS: dict[str, Callable[[Path, Arguments], int]] = {
    "ls": _ls,
    "du": _du,
    "verify": _verify,
    "gc": _gc,
}

_ONLY_FOR = {
    "--kind": ("ls", "verify"),
    "--older-than": ("gc",),
    "--max-size": ("gc",),
    "--dry-run": ("gc",),
    "--all": ("gc",),
    "--runs": ("gc",),
}


def _check_switches(verb: str, arguments: Arguments) -> None:
    """Refuse a switch that the verb would silently not look at."""
    for switch, verbs in _ONLY_FOR.items():
        if switch in arguments.flags and verb not in verbs:
            raise UsageError(
                f"mmtrt cache {verb} has no {switch}",
                code="CFG002",
                fix=f"mmtrt cache {verbs[0]} {switch}",
            )
