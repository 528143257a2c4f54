"""``mmtrt diff [A] [B]``: in what two runs, or two artifacts, differ."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from mmtrt.cli.arguments import parse
from mmtrt.errors import UsageError
from mmtrt.report.differences import differences
from mmtrt.report.places import place
from mmtrt.report.tables import write_table
from mmtrt.report.targets import find_target
from mmtrt.report.units import size_text

USAGE = """\
mmtrt diff [A] [B] [--exit-code] [--json] [--runs DIR] [--store DIR]

Show in what B differs from A: settings, keys, files, answers, times, scores. Each is a run, named
as for `mmtrt report` (latest, latest~1, a recipe, the beginning of a name), or an artifact: a path,
KIND/KEY or a key, cut short. RUN:POINT is a point of a sweep: its number, or overrides that only
this point has. A alone is compared with the newest run; without A, the last two are.

  --exit-code   exit 1 if they differ, as git has it; times do not count

  mmtrt diff
  mmtrt diff llava~1 llava --exit-code
  mmtrt diff sweep:0 sweep:3
  mmtrt diff build_llm/615e9c1b build_llm/023e4317
"""

_WIDTH = 72


def main(args: list[str]) -> int:
    """Print the differences."""
    switches = ("--json", "--exit-code")
    arguments = parse("diff", args, USAGE, switches, ("--runs", "--store"))
    if arguments is None:
        return 0
    if len(arguments.words) > 2:
        raise UsageError("mmtrt diff takes two runs", code="CFG002", fix="mmtrt diff --help")

    runs = place("runs", arguments.text("--runs"), arguments.overrides)
    store = place("store", arguments.text("--store"), arguments.overrides)
    names = [*arguments.words, "latest"][:2] if arguments.words else ["latest~1", "latest"]
    old, new = (find_target(name, runs, store) for name in names)
    document = differences(old, new)
    if arguments.on("--json"):
        print(json.dumps(document, indent=1, ensure_ascii=False))
    else:
        _print(document)
    return 1 if arguments.on("--exit-code") and not document["same"] else 0


def _print(document: Mapping[str, Any]) -> None:

    print(f"a  {document['old']}\nb  {document['new']}")
    if document["settings"]:
        print()
        rows = [(row["field"], *_sides(row)) for row in document["settings"]]
        write_table(sys.stdout, ("SETTING", "A", "B"), rows)
    print()
    rows_of = [row for stage in document["stages"] for row in _stage_rows(stage)]
    write_table(sys.stdout, ("STAGE", "OUTPUT", "SIZE", "WHAT"), rows_of)
    for answer in document["answers"]:
        at = answer["first_token"]
        where = "" if at is None else f" (from token {at})"
        print(f"\nanswer {answer['request'] + 1}{where}")
        for row in answer["fields"]:
            if not row["field"].startswith("token_ids"):
                print(f"  {row['field']}\n    a: {row['old']}\n    b: {row['new']}")
    if document["scores"]:
        print()
        rows = [(f"{r['stage']} {r['field']}", *_sides(r)) for r in document["scores"]]
        write_table(sys.stdout, ("SCORE", "A", "B"), rows)
    if document["timings"]:
        print()
        timings = [
            (row["name"], _number(row["old"]), _number(row["new"]), _ratio(row["ratio"]))
            for row in document["timings"]
        ]
        write_table(sys.stdout, ("TIME", "A", "B", "B/A"), timings, right="A B B/A")
    verdict = "the same but for times" if document["same"] else "they differ"
    print(verdict, file=sys.stderr)


def _stage_rows(stage: Mapping[str, Any]) -> list[Sequence[str]]:
    """Return a row for the stage and one for each further reason and file."""
    sizes = [side and size_text(side["size_bytes"]) for side in stage["sides"].values()]
    size = " -> ".join(dict.fromkeys(each or "-" for each in sizes))
    told = list(stage["reasons"])
    told += [f"{each['path']}: {_file(each)}" for each in stage["files"]]
    if not told and stage["output"] == "absent":
        told = [str(stage.get("old_status") or "")]
    first, *rest = told or [""]
    output = stage["output"]
    if output == "same" and stage["key"]:
        output = "same, other key"
    return [(stage["stage"], output, size, first), *(("", "", "", each) for each in rest)]


def _file(row: Mapping[str, Any]) -> str:
    if row["what"] != "differs":
        return str(row["what"])
    if row["old_size"] == row["new_size"]:
        return f"other content ({row['old_digest'][:8]} -> {row['new_digest'][:8]})"
    return f"{size_text(row['old_size'])} -> {size_text(row['new_size'])}"


def _sides(row: Mapping[str, Any]) -> tuple[str, str]:
    return _text(row["old"]), _text(row["new"])


def _text(value: Any) -> str:
    if value is None:
        return "-"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."


def _number(value: Any) -> str:
    return "-" if value is None else f"{value:.2f}"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}x"
