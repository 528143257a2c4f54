"""Stage ``env``: pinned Python packages that lie over those of the Python that runs the stage."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mmtrt.tasks.messages import TaskError, note, quoted, run_stage, say, scrub
from mmtrt.tasks.overlay import Overlay
from mmtrt.tasks.pip import Pip, find_pip
from mmtrt.tasks.requirements import (
    Pin,
    canonical,
    options,
    parse_pin,
    parse_report,
    read_files,
)

EPILOG = """\
DIR/bin/python sees all packages of the Python that runs this stage, and in front of them those that
were asked for, with what they need. A package that the host has in a fitting version is not
installed again. DIR may be moved. PYTHONPATH comes before both.

  DIR/requirements.txt   what was asked for
  DIR/requirements.lock  every package that was installed: name==version and its hash

pip's own configuration and PIP_ variables count, but for those that say where to install.

exit status:
  0   done
  1   it cannot be done as asked: contradictions, no such version, a failed build, no pip
  2   the command line cannot be understood
  75  the network failed; the same command may succeed later
  130 interrupted

examples:
  python -m mmtrt.tasks.env --output-dir out/env --requirement transformers==4.45.2
  python -m mmtrt.tasks.env --output-dir out/env --requirements-file requirements.txt \\
      --no-index --find-links wheels/
"""

VERSIONS = """\
import importlib.metadata, json, sys
print(json.dumps({name: importlib.metadata.version(name) for name in sys.argv[1:]}))
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stage; return its exit status."""
    parser = _parser()
    args = parser.parse_args(argv)
    if not args.requirement and not args.requirements_file:
        parser.error("nothing is asked for: give --requirement or --requirements-file")
    if args.no_index and not args.find_links:
        parser.error("--no-index needs --find-links")
    sources = ["--index-url", args.index_url] if args.index_url else []
    sources += ["--no-index"] if args.no_index else []
    for place in args.find_links:
        is_local = "://" not in place
        sources += ["--find-links", str(Path(place).resolve()) if is_local else place]
    if args.pin and not args.locked:
        parser.error("--pin needs --locked")
    locked = args.pin if args.locked else None
    return run_stage(
        lambda: make(args.output_dir, args.requirement, args.requirements_file, sources, locked)
    )


def parse_lock_line(text: str) -> Pin:
    """Read one line of ``requirements.lock``."""
    try:
        return parse_pin(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def parse_requirement(text: str) -> str:
    """Read one line of a requirements file that is no option."""
    if not text.strip() or text.startswith(("-", "#")) or len(text.splitlines()) > 1:
        raise argparse.ArgumentTypeError(f"{text!r} does not read like transformers==4.45.2")
    return text.strip()


def make(
    output_dir: Path,
    requirements: Sequence[str],
    files: Sequence[Path],
    sources: Sequence[str],
    locked: Sequence[Pin] | None = None,
) -> None:
    """Resolve the requirements, write both lists, and install exactly what was resolved.

    Args:
        output_dir: becomes the environment; what is there after a failure is not whole.
        requirements: lines of a requirements file.
        files: requirements files.
        sources: flags of pip that say where packages come from.
        locked: what the requirements came to before; nothing is resolved then.

    Raises:
        TaskError: ART1xx or NET106; see ``messages.CODES``.
        TemporaryError: NET101, if the network failed.
    """
    asked = [*requirements, *read_files(files)]
    overlay = Overlay(output_dir.absolute())
    overlay.create()
    (output_dir / "requirements.txt").write_text(scrub(_text(asked)), encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix=".env-", dir=Path.cwd()) as scratch:
        pip = find_pip(overlay.python, Path(scratch))
        pins = resolve(pip, asked, sources) if locked is None else list(locked)
        lock = _text([pin.line for pin in pins])
        (output_dir / "requirements.lock").write_text(lock, encoding="utf-8")
        _install(pip, pins, options(asked), sources)
    overlay.relocate_scripts()
    _check(overlay, pins)
    for pin in pins:
        say(f"{pin.name} {pin.version or pin.url}")
    if not pins:
        note("nothing was installed: the host has all that was asked for")


def resolve(pip: Pip, asked: Sequence[str], sources: Sequence[str] = ()) -> list[Pin]:
    """Return what pip would install over the packages that are there, sorted by name.

    Raises:
        TaskError: ART1xx or NET106; see ``messages.CODES``.
        TemporaryError: NET101, if the network failed.
    """
    wanted, report = pip.scratch / "asked.txt", pip.scratch / "report.json"
    wanted.write_text(_text(asked), encoding="utf-8")
    flags = ("--dry-run", "--quiet", "--report", str(report), "--requirement", str(wanted))
    pip.install(*flags, *sources)
    return parse_report(json.loads(report.read_text(encoding="utf-8")))


def _install(pip: Pip, pins: Sequence[Pin], more: Sequence[str], sources: Sequence[str]) -> None:
    """Install the pins; those without a hash apart, as pip wants all to have one, or none."""
    for group in ([p for p in pins if p.sha256], [p for p in pins if not p.sha256]):
        if group:
            pinned = pip.scratch / "pinned.txt"
            pinned.write_text(_text([*more, *(pin.line for pin in group)]), encoding="utf-8")
            # What the host has of these stays there: it is out of reach for an environment.
            flags = ("--no-deps", "--ignore-installed", "--requirement", str(pinned))
            pip.install(*flags, *sources)


def _check(overlay: Overlay, pins: Sequence[Pin]) -> None:
    """See that the environment finds its own packages first.

    Raises:
        TaskError: ART116.
    """
    names = [pin.name for pin in pins]
    argv = [str(overlay.python), "-c", VERSIONS, *names]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        raise TaskError(
            "the Python of the new environment does not work",
            code="ART116",
            fix="run the stage with another Python",
            blocks=[("it says", done.stderr.decode(errors="replace")[-2000:])],
        )
    seen = json.loads(done.stdout)
    for pin in pins:
        # The lock of a package from a URL does not say its version.
        if pin.version and canonical(seen[pin.name]) != canonical(pin.version):
            raise TaskError(
                f"{pin.name} {pin.version} is hidden by {quoted(seen[pin.name])}",
                code="ART116",
                why="a directory in PYTHONPATH holds another version and comes first",
                fix="take that directory out of PYTHONPATH",
            )


def _text(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mmtrt.tasks.env",
        description="Make a virtual environment with pinned packages over those of this Python.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--output-dir",
        required=True,
        type=Path,
        metavar="DIR",
        help="becomes the environment; fresh",
    )
    parser.add_argument(
        "--requirement",
        action="append",
        default=[],
        type=parse_requirement,
        metavar="REQ",
        help="a package, such as transformers==4.45.2; repeat for more",
    )
    parser.add_argument(
        "--requirements-file",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="a file of them; repeat for more",
    )
    parser.add_argument(
        "--pin",
        action="append",
        default=[],
        type=parse_lock_line,
        metavar="LINE",
        help="with --locked, a line of requirements.lock; repeat for all",
    )
    parser.add_argument(
        "--locked", action="store_true", help="resolve nothing, install just what --pin names"
    )
    parser.add_argument("--index-url", metavar="URL", help="package index instead of PyPI")
    parser.add_argument(
        "--no-index", action="store_true", help="ask no index, only the --find-links"
    )
    parser.add_argument(
        "--find-links",
        action="append",
        default=[],
        metavar="DIR",
        help="directory or page with packages; repeat for more",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
