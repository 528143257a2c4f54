"""Stage ``write``: small text files whose content stands in the recipe."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mmtrt.tasks import links
from mmtrt.tasks.messages import TaskError, quoted, run_stage, say

EPILOG = """\
The text is everything after the first `=`; a newline is added where it does not end in one.
Nothing is replaced.

exit status: 0 done, 1 it cannot be done, 2 usage

example:
  python -m mmtrt.tasks.write --output-dir out/options \\
      --file $'extra-llm-api-config.yml=kv_cache_config:\\n  enable_block_reuse: false'
"""


@dataclass(frozen=True)
class TextFile:
    """A file to be written."""

    name: PurePosixPath
    content: bytes


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stage; return its exit status."""
    args = _parser().parse_args(argv)
    return run_stage(lambda: write(args.output_dir, args.file))


def parse_file(text: str) -> TextFile:
    """Read ``NAME=CONTENT``; the content may be empty and may have ``=``."""
    name, separator, content = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} does not read NAME=CONTENT")
    try:
        path = links.relative_name(name)
    except TaskError as failure:
        raise argparse.ArgumentTypeError(failure.message) from failure
    if content and not content.endswith("\n"):
        content += "\n"
    return TextFile(path, content.encode("utf-8", "surrogateescape"))


def write(output_dir: Path, files: Sequence[TextFile]) -> None:
    """Write the files; two of one name are found before anything is written.

    Raises:
        TaskError: ART101, if a name is taken; ART105 or ART106.
    """
    names = {file.name for file in files}
    for place, file in enumerate(files):
        same = any(other.name == file.name for other in files[:place])
        inside = [parent for parent in file.name.parents if parent in names]
        if same or inside:
            raise TaskError(
                f"`{quoted(str(file.name))}` is given twice"
                if same
                else f"`{quoted(str(inside[0]))}` is given as a file and as a directory",
                code="ART101",
                fix="give the files different names",
            )
    for file in files:
        target = output_dir / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with target.open("xb") as stream:
                stream.write(file.content)
        except FileExistsError:
            raise links.occupied(target) from None
        say(f"wrote {quoted(str(file.name))}, {len(file.content)} bytes")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mmtrt.tasks.write",
        description="Write small text files, such as the options file of a server.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--output-dir", required=True, type=Path, metavar="DIR", help="where the files go; fresh"
    )
    parser.add_argument(
        "--file",
        required=True,
        action="append",
        type=parse_file,
        metavar="NAME=CONTENT",
        help="a relative name and the text of the file; repeat for more",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
