"""``mmtrt why STAGE``: why a stage is a hit or must run."""

from __future__ import annotations

import difflib
import json

from mmtrt.cli import locking
from mmtrt.cli.arguments import Arguments, parse
from mmtrt.cli.session import open_session
from mmtrt.errors import UsageError
from mmtrt.plan.assess import NodeState

USAGE = """\
mmtrt why STAGE OVERRIDES... [--json] [-cd DIR]

Tell why a stage is in the store, runs, may run or is skipped, against the nearest earlier build;
--json adds the whole key document. --locked, --unlocked and --lock FILE as of `mmtrt plan`.

  mmtrt why build_llm recipe=llava variant=tiny max_batch_size=2
"""


def main(args: list[str]) -> int:
    """Print the reasons of one stage."""
    arguments = parse("why", args, USAGE, ("--json", *locking.SWITCHES), locking.VALUED)
    if arguments is None:
        return 0
    if len(arguments.words) != 1:
        raise UsageError("mmtrt why needs one stage", code="CFG002", fix="mmtrt why build_llm ...")
    name = arguments.words[0]
    rest = Arguments([], arguments.overrides, arguments.flags, arguments.config_dirs)
    assessment = open_session("why", rest).assess()
    if name not in assessment.states:
        near = difflib.get_close_matches(name, assessment.states, 1, 0.4)
        raise UsageError(
            f"no stage {name!r}",
            code="CFG124",
            why=f"stages: {', '.join(assessment.states)}",
            fix=f"mmtrt why {near[0]} ..." if near else None,
        )
    state = assessment[name]
    if arguments.on("--json"):
        document = {
            "schema": 1,
            "stage": name,
            "status": state.status,
            "key": state.key,
            "reasons": [reason.to_json() for reason in state.reasons],
            "key_document": state.document,
        }
        print(json.dumps(document, indent=1, ensure_ascii=False))
    else:
        print("\n".join(_lines(state)))
    return 0


def _lines(state: NodeState) -> list[str]:
    name, key = state.node.id, (state.key or "")[:16]
    if state.status == "skip":
        return [f"{name} is skipped: {state.node.skip}"]
    if state.status == "hit":
        assert state.artifact is not None
        made = state.artifact.manifest
        return [
            f"{name} is in the store: key {key}",
            f"  made {made.created} in {made.seconds:g} s",
            f"  {state.artifact.path}",
        ]
    verb = "runs" if state.status == "run" else "may run"
    head = f"{name} {verb}" + (
        f": key {key}" if key else ": its key is not known before its inputs"
    )
    return [head, *(f"  {reason.sentence()}" for reason in state.reasons)]
