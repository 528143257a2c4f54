"""Stage ``patch``: a copy of a model, by links, in which some files have other text."""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from mmtrt.tasks import links
from mmtrt.tasks.edits import apply_edits, by_file, parse_edits
from mmtrt.tasks.messages import TaskError, quoted, run_stage, say

EPILOG = """\
Every edit replaces `before`, which must be in the file exactly once, by `after`; line numbers do
not exist. before_sha256 and after_sha256 (optional) are digests of the whole file as this edit
finds and leaves it. Files without edits are hard-linked, links stay links, and the source does
not change.

exit status: 0 done, 1 an edit does not fit (nothing is written), 2 usage

example:
  python -m mmtrt.tasks.patch --source-dir out/cogvlm --output-dir out/cogvlm-patched \\
      --edits '[{"file": "visual.py", "before": "import xformers.ops as xops\\n", "after": ""}]'
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stage; return its exit status."""
    args = _parser().parse_args(argv)
    return run_stage(lambda: patch(args.source_dir, args.output_dir, args.edits))


def patch(source_dir: Path, output_dir: Path, edits_json: str) -> None:
    """Apply the edits on a linked copy; every edit must fit before anything is written.

    Raises:
        TaskError: ART1xx; see ``messages.CODES``. All edits that do not fit are told together, one
            per file.
    """
    edits = by_file(parse_edits(edits_json))
    source = links.require_directory(source_dir, "--source-dir")
    links.require_apart(output_dir, source, "--source-dir")
    patched: dict[str, bytes] = {}
    failures = []
    for name, group in edits.items():
        try:
            patched[str(name)] = apply_edits(_read(source, Path(name)), group)
        except TaskError as failure:
            failures.append(failure)
    if failures:
        failures[0].also.extend(failures[1:])
        raise failures[0]
    for entry in links.walk(source):
        target = output_dir / entry.name
        if entry.name in patched:
            _write_new(patched[entry.name], entry.path, target)
        else:
            links.place(entry, target, source, links.Otherwise.SYMLINK)
    for file, content in patched.items():
        say(f"patched {quoted(file)}, sha256 {hashlib.sha256(content).hexdigest()}")


def _read(source: Path, name: Path) -> bytes:
    """Return the content of the file to patch, which may be a link; its folders may not be."""
    folders = [source / parent for parent in name.parents][:-1]
    if linked := [folder for folder in folders if folder.is_symlink()]:
        raise TaskError(
            f"`{quoted(str(name))}` lies in a directory that is a link",
            code="ART104",
            why=f"`{quoted(str(linked[0]))}` leads elsewhere, and what is there is not ours",
            fix="let the download stage link the files one by one",
        )
    path = source / name
    if not path.is_file():
        raise TaskError(
            f"there is no file `{quoted(str(name))}` to patch in `{quoted(str(source))}`",
            code="ART107",
            fix="correct recipe.stages.patch.edits, or let the download stage include the file",
        )
    return path.read_bytes()


def _write_new(content: bytes, like: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with target.open("xb") as file:
            file.write(content)
    except FileExistsError:
        raise links.occupied(target) from None
    target.chmod(like.stat().st_mode & 0o777)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mmtrt.tasks.patch",
        description="Change lines of a model's own code on a copy, after checking what is there.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--source-dir", required=True, type=Path, metavar="DIR", help="the model; stays as it is"
    )
    parser.add_argument(
        "--output-dir", required=True, type=Path, metavar="DIR", help="where the copy goes; fresh"
    )
    parser.add_argument(
        "--edits",
        required=True,
        metavar="JSON",
        help="list of objects with file, before, after, and optionally before_sha256, after_sha256",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
