"""Stage ``assemble``: the directories of several stages side by side, by links, not copies."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mmtrt.tasks import links
from mmtrt.tasks.messages import TaskError, quoted, run_stage, say

EPILOG = """\
Every file is a hard link; where a file system cannot do that, a relative symbolic link. Two parts
may share a directory, but not a file.

exit status: 0 done, 1 it cannot be done (nothing is written), 2 usage

example:
  python -m mmtrt.tasks.assemble --output-dir out/engine --part llm=out/llm --part vision=out/vit
"""


@dataclass(frozen=True)
class Part:
    """One directory and the name that it gets."""

    name: PurePosixPath
    directory: Path


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stage; return its exit status."""
    args = _parser().parse_args(argv)
    return run_stage(lambda: assemble(args.output_dir, args.part))


def parse_part(text: str) -> Part:
    """Read ``NAME=DIR``; the name may have slashes, the directory may have ``=``."""
    name, separator, directory = text.partition("=")
    if not separator or not name or not directory:
        raise argparse.ArgumentTypeError(f"{text!r} does not read NAME=DIR")
    try:
        return Part(links.relative_name(name), Path(directory))
    except TaskError as failure:
        raise argparse.ArgumentTypeError(failure.message) from failure


def assemble(output_dir: Path, parts: Sequence[Part]) -> None:
    """Link the files of every part to ``output_dir/NAME``; collisions are found before anything.

    Raises:
        TaskError: ART101, if two parts hold the same file; ART104, ART106 or ART107.
    """
    planned: dict[PurePosixPath, tuple[links.Entry, Path]] = {}
    for part in parts:
        source = links.require_directory(part.directory, f"--part {quoted(str(part.name))}")
        links.require_apart(output_dir, source, f"--part {quoted(str(part.name))}")
        for folder in (part.name, *part.name.parents[:-1]):
            entry = links.Entry(str(folder), source, links.Kind.DIRECTORY)
            _plan(planned, folder, entry, source)
        for entry in links.walk(source):
            _plan(planned, part.name / entry.name, entry, source)
    for target, (entry, source) in planned.items():
        links.place(entry, output_dir / target, source, links.Otherwise.SYMLINK)
    count = sum(entry.kind is not links.Kind.DIRECTORY for entry, _ in planned.values())
    say(f"{count} files of {len(parts)} parts linked")


def _plan(
    planned: dict[PurePosixPath, tuple[links.Entry, Path]],
    target: PurePosixPath,
    entry: links.Entry,
    source: Path,
) -> None:
    other, _ = planned.setdefault(target, (entry, source))
    both_directories = links.Kind.DIRECTORY is entry.kind is other.kind
    if other is not entry and not both_directories:
        raise TaskError(
            f"two parts hold `{quoted(str(target))}`",
            code="ART101",
            why=f"`{quoted(str(other.path))}` and `{quoted(str(entry.path))}`",
            fix="give the parts different names",
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mmtrt.tasks.assemble",
        description="Lay the outputs of several stages side by side, by links.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--output-dir", required=True, type=Path, metavar="DIR", help="where the parts go; fresh"
    )
    parser.add_argument(
        "--part",
        required=True,
        action="append",
        type=parse_part,
        metavar="NAME=DIR",
        help="a directory and the name it gets, such as llm/encoder=DIR; repeat for more",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
