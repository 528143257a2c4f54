"""``mmtrt export``: the plan as a plain script or a picture."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from mmtrt.cli import locking
from mmtrt.cli.arguments import parse
from mmtrt.errors import HostError, UsageError
from mmtrt.export import to_sh
from mmtrt.export.graph import to_dot, to_mermaid
from mmtrt.plan.graph import Plan
from mmtrt.redaction import MASK, of_environment
from mmtrt.rules.check import check_plan, find

USAGE = """\
mmtrt export OVERRIDES... [--format sh|mermaid|dot] [-o FILE] [--json] [-cd DIR]

Print the plan of a recipe as a bash script that needs neither mmtrt's executor nor its store, or
as a picture. A plan that breaks a rule is refused; what this host lacks is only told, since the
script may be for another machine. --locked, --unlocked and --lock FILE as of `mmtrt plan`.

  mmtrt export recipe=llava variant=tiny -o build.sh      # then: OUT=/tmp/llava bash build.sh
  mmtrt export recipe=llava_next tp=2 --format mermaid
  mmtrt export recipe=llava_next --format dot | dot -Tsvg > plan.svg
"""

FORMATS: dict[str, Callable[[Plan], str]] = {"sh": to_sh, "mermaid": to_mermaid, "dot": to_dot}


def main(args: list[str]) -> int:
    """Print the plan in one of the formats."""
    arguments = parse(
        "export",
        args,
        USAGE,
        ("--json", *locking.SWITCHES),
        ("--format", "-o", "--output", *locking.VALUED),
    )
    if arguments is None:
        return 0
    form = arguments.text("--format") or "sh"
    if form not in FORMATS:
        raise UsageError(
            f"mmtrt export: no format {form!r}", code="CFG002", fix=f"--format {'|'.join(FORMATS)}"
        )
    from mmtrt.cli.session import open_session

    plan = open_session("export", arguments).plan
    findings = find(plan)
    with contextlib.suppress(HostError):
        check_plan(plan)
    for finding in findings:
        print(finding.render(), file=sys.stderr)
    text = of_environment(args).whole(FORMATS[form](plan))
    if MASK in text:
        print(f"credentials were left out of the {form}: put them in for {MASK}", file=sys.stderr)
    target = arguments.text("-o") or arguments.text("--output")
    if target is not None:
        _write(Path(target), text, executable=form == "sh")
    if arguments.on("--json"):
        document = {"schema": 1, "format": form, "file": target, "text": text}
        print(json.dumps(document, indent=1))
    elif target is None:
        _print(text)
    else:
        print(f"Wrote {target}", file=sys.stderr)
    return 0


def _write(path: Path, text: str, *, executable: bool) -> None:
    try:
        # Paths that are no UTF-8 must reach the shell as the bytes that they are.
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        if executable:
            umask = os.umask(0)
            os.umask(umask)
            path.chmod(0o777 & ~umask)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}", code="CFG003", why=str(error)
        ) from error


def _print(text: str) -> None:
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(encoding="utf-8", errors="surrogateescape")
    sys.stdout.write(text)
