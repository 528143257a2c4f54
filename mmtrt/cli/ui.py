"""``mmtrt ui``: past runs in a browser."""

from __future__ import annotations

import sys

from mmtrt.cli.arguments import parse
from mmtrt.errors import UsageError
from mmtrt.report.places import place
from mmtrt.ui.serve import is_loopback, serve

USAGE = """\
mmtrt ui [--port N] [--host ADDRESS] [--runs DIR]

Serve past runs and sweeps: a list, a page for each, logs that grow as a stage runs. Read-only, and
bound to this machine. There is no password: with another --host, everyone who reaches it can read
the runs.

  --port N         8600; 0 for any that is free
  --host ADDRESS   127.0.0.1

  mmtrt ui
  ssh -L 8600:localhost:8600 gpu-box mmtrt ui
"""
_PORT = 8600


def main(args: list[str]) -> int:
    """Serve until Ctrl-C."""
    arguments = parse("ui", args, USAGE, (), ("--port", "--host", "--runs"))
    if arguments is None:
        return 0
    if arguments.words:
        raise UsageError(f"mmtrt ui takes no {arguments.words[0]!r}", code="CFG002")
    text = arguments.text("--port") or str(_PORT)
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        raise UsageError(f"mmtrt ui: {text!r} is no port", code="CFG002", fix="--port 0 to 65535")

    root = place("runs", arguments.text("--runs"), arguments.overrides)
    host = arguments.text("--host") or "127.0.0.1"

    def ready(address: str) -> None:
        if not is_loopback(host):
            print(f"warning: everyone who reaches {host} can read the runs", file=sys.stderr)
        print(f"Runs below {root} at {address}   (Ctrl-C ends)", file=sys.stderr, flush=True)

    serve(root, host, int(text), ready)
    return 0
