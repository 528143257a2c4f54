"""The table of verbs, and what every verb shares: errors, exit codes, closed pipes."""

from __future__ import annotations

import difflib
import importlib
import os
import shlex
import signal
import sys
from collections.abc import Sequence

from mmtrt.cli.arguments import meant_recipe
from mmtrt.cli.streams import redacted, take_every_character
from mmtrt.errors import MmtrtError, UsageError

VERBS: dict[str, str] = {
    "run": "run a recipe: what the store lacks, nothing else",
    "plan": "show what would run, and why; sizes; findings",
    "check": "show findings only",
    "lock": "pin commits, packages and tool versions in mmtrt.lock",
    "size": "show the limits and where every number comes from",
    "why": "tell why a stage is a hit or must run",
    "ls": "list the recipes",
    "show": "show one recipe: variants, stages, limits, formats",
    "cp": "copy a recipe to a file, to make it your own",
    "rule": "explain a rule",
    "export": "print the plan as a shell script or a picture",
    "diff": "show in what two runs or artifacts differ",
    "verify": "check the files of a run, and whether its stages make them again",
    "provenance": "print what made a run or artifact, as SLSA provenance or CycloneDX BOM",
    "pack": "put the engines of a run with all that running them takes into one file",
    "log": "show the log of a run or a stage",
    "report": "show the report of a run",
    "ui": "show past runs in a browser",
    "cache": "look after the store: ls, du, verify, gc",
    "doctor": "show this host, its tools, and what each backend lacks",
}
"""Verb -> what it does; each is the module ``mmtrt.cli.<verb>`` with a ``main(args) -> int``."""


def dispatch(argv: Sequence[str]) -> int:
    """Run one command line and return its exit code.

    A first word that is no verb is an override of ``run``: ``mmtrt recipe=llava tp=2``.
    """
    args = list(argv)
    take_every_character()
    debug = "--debug" in args
    if debug:
        args.remove("--debug")
    if args[:1] == ["help"] and args[1:2] and args[1] in VERBS:
        args = [args[1], "--help"]
    if not args or args[0] in ("-h", "--help", "help"):
        sys.stdout.write(_help())
        return 0
    with redacted(args):
        return _run_verb(args, debug)


def _run_verb(args: list[str], debug: bool) -> int:
    verb = "run" if _starts_run(args[0]) else args.pop(0)
    try:
        if verb not in VERBS:
            raise UsageError(
                f"mmtrt has no verb {verb!r}",
                code="CFG001",
                why=f"verbs: {', '.join(VERBS)}",
                fix=_meant(verb, args),
            )
        module = importlib.import_module(f"mmtrt.cli.{verb}")
        code: int = module.main(args)
        sys.stdout.flush()
        return code
    except MmtrtError as error:
        if debug:
            raise
        sys.stderr.write(error.render() + "\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader has gone (`mmtrt ls | head`): end quietly, as if by SIGPIPE.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


OTHER_WORDS = {"list": "ls", "runs": "log", "history": "log", "build": "run", "validate": "check"}
"""What other tools call it."""


def _meant(word: str, rest: Sequence[str]) -> str:
    """Return the command line that someone may have meant by a word that is no verb."""
    if recipe := meant_recipe(word):
        return shlex.join(["mmtrt", f"recipe={recipe}", *rest])
    near = difflib.get_close_matches(word, VERBS, 1, 0.5)
    verb = OTHER_WORDS.get(word) or (near[0] if near else None)
    if verb is None:
        return "mmtrt --help"
    # Most verbs would ask for a recipe in turn.
    return shlex.join(["mmtrt", verb, *(rest or ([] if verb in ("ls", "log") else ["--help"]))])


def _starts_run(word: str) -> bool:
    """Return whether the first word is an override or one of Hydra's own switches."""
    return "=" in word or word.startswith(("-", "+", "~"))


def _help() -> str:
    width = max(map(len, VERBS))
    lines = [
        "mmtrt: build and run multimodal models from recipes",
        "",
        "  mmtrt recipe=llava variant=tiny                run (the same as `mmtrt run ...`)",
        "  mmtrt -m recipe=llava variant=tiny quant=none,int8_wo   sweep",
        "  mmtrt plan recipe=llava_next tp=2              what would run, and why",
        "",
        "Verbs:",
        *(f"  {verb:<{width}}  {text}" for verb, text in VERBS.items()),
        "",
        "Hydra's switches work: --cfg job, --info, -cd DIR, -m, hydra/launcher=...,",
        "  -sc install=bash (shell completion).",
        "Every reading verb takes --json. --debug shows a traceback for errors.",
        "Exit codes: 0 done, 1 a stage failed, 2 usage or recipe error, 3 accuracy gate missed,",
        "  4 lock stale, 5 host lacks something, 10 work to do (plan --detailed-exitcode),",
        "  130 interrupted.",
    ]
    return "\n".join(lines) + "\n"
