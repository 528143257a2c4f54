"""Command-line flags that several stages share."""

from __future__ import annotations

import argparse
from pathlib import Path

from mmtrt.native.engine_config import ENGINES


def stage_parser(stage: str, module_doc: str | None) -> argparse.ArgumentParser:
    """Return the parser of ``python -m mmtrt.native.<stage>``, described by its module."""
    summary, _, rest = (module_doc or "").partition("\n\n")
    return argparse.ArgumentParser(
        prog=f"python -m mmtrt.native.{stage}",
        description=summary,
        epilog=rest or None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_directory(parser: argparse.ArgumentParser, flag: str, text: str) -> None:
    """Add a flag that takes a directory and must be given."""
    parser.add_argument(flag, type=Path, required=True, metavar="DIR", help=text)


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add ``--engine``."""
    parser.add_argument(
        "--engine", choices=ENGINES, default=ENGINES[0], help="what runs the graph (default)"
    )


def add_media(parser: argparse.ArgumentParser, text: str) -> None:
    """Add ``--media``."""
    parser.add_argument("--media", choices=("audio",), nargs="+", default=[], help=text)


def positive(text: str) -> int:
    """Parse a whole number of at least one."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number
