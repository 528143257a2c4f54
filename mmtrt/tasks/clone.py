"""Stage ``clone``: the files of one commit of a git repository, without the repository."""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

from mmtrt.tasks import links
from mmtrt.tasks.git import Git
from mmtrt.tasks.messages import TaskError, listed, note, quoted, run_stage, say, warn
from mmtrt.tasks.weights import is_lfs_pointer

EPILOG = """\
Only the one commit is fetched, and with --subdir only the files that are wanted, where the server
can do that. Submodules and Git LFS files are not fetched. Hooks and the configuration of the user
and of the system are left out: the same commit gives the same files anywhere. The repository goes
to a temporary directory below the current one.

exit status:
  0   done; the first line on stdout reads `commit <sha>`
  1   it cannot be done as asked: no such repository, revision or directory, no access, no git
  2   the command line cannot be understood
  75  the network failed; the same command may succeed later
  130 interrupted

example:
  python -m mmtrt.tasks.clone --url https://github.com/NVIDIA/TensorRT-LLM.git \\
      --revision v1.2.1 --subdir examples/models/core --output-dir out/examples
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stage; return its exit status."""
    args = _parser().parse_args(argv)
    return run_stage(lambda: clone(args.url, args.revision, args.subdir, args.output_dir))


def clone(url: str, revision: str, subdirs: Sequence[str], output_dir: Path) -> None:
    """Write the files of a commit to ``output_dir``; what is there after a failure is not whole.

    Raises:
        TaskError: MDL11x, NET106, ART101, ART104, ART105, ART106, ART110 or ART111.
        TemporaryError: NET101 or NET102, if the network failed.
    """
    names = [links.relative_name(name) for name in subdirs]
    output_dir.mkdir(parents=True, exist_ok=True)
    if any(output_dir.iterdir()):
        raise links.occupied(next(output_dir.iterdir()))
    with tempfile.TemporaryDirectory(prefix=".clone-", dir=Path.cwd()) as scratch:
        git = Git(Path(scratch, "repository"), url, revision)
        git.init()
        commit = fetch(git, is_partial=bool(names))
        submodules = _find(git, commit, names)
        _check_out(git, commit, names, output_dir.resolve())
    say(f"commit {commit}")
    count = _inspect(output_dir)
    if submodules:
        note(f"submodules are not fetched: {listed(submodules)}")
    if commit != revision.lower():
        warn(
            "MDL101",
            f"the revision `{quoted(revision)}` is not a commit hash",
            why="a branch or a tag can point to other files tomorrow, under the same name",
            fix=f"name the commit that it is now: {commit}",
        )
    say(f"{count} files")


def fetch(git: Git, is_partial: bool) -> str:
    """Fetch the revision without its history and return the hash of its commit.

    Args:
        git: a repository that was initialised.
        is_partial: leave the contents of files to the checkout, for servers that can.

    Raises:
        TaskError: MDL111 to MDL113, NET106 or ART111.
        TemporaryError: NET101 or NET102.
    """
    flags = ["--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules"]
    if is_partial:
        flags.append("--filter=blob:none")
    git.run("fetch", *flags, "origin", _reference(git))
    return git.run("rev-parse", "--verify", "--quiet", "FETCH_HEAD^{commit}").strip()


def _reference(git: Git) -> str:
    """Return what to ask the server for: a commit, or the full name of a tag or branch."""
    if re.fullmatch(r"[0-9a-fA-F]{40}", git.revision):
        return git.revision.lower()
    return full_name(git, references(git))


def references(git: Git) -> dict[str, str]:
    """Return every name that the server has, and the hash of the object it stands for.

    Raises:
        TaskError: MDL11x, NET106 or ART111.
        TemporaryError: NET101 or NET102.
    """
    rows = (line.partition("\t") for line in git.run("ls-remote", "origin").splitlines())
    return {name: digest for digest, _, name in rows}


def full_name(git: Git, found: Collection[str]) -> str:
    """Return the full name of the tag or branch that the revision means.

    Raises:
        TaskError: MDL113.
    """
    revision = git.revision
    wanted = [f"refs/tags/{revision}", f"refs/heads/{revision}"]
    if revision.startswith("refs/"):
        wanted.insert(0, revision)
    for name in wanted:
        if name in found:
            return name
    is_short = re.fullmatch(r"[0-9a-fA-F]{7,39}", revision)
    raise TaskError(
        f"`{quoted(git.url)}` has no tag or branch `{quoted(revision)}`",
        code="MDL113",
        why="a server hands out a commit only by all 40 digits of its hash" if is_short else None,
        fix="name a tag, a branch, or a commit by all 40 digits of its hash",
    )


def _find(git: Git, commit: str, names: Sequence[PurePosixPath]) -> list[str]:
    """Return the submodules in the wanted part of a commit, all of whose directories must exist."""
    for name in names:
        if "\n" in str(name) or not git.run("ls-tree", "-z", commit, "--", str(name)):
            raise TaskError(
                f"there is no `{quoted(str(name))}` in `{quoted(git.url)}` "
                f"at `{quoted(git.revision)}`",
                code="MDL114",
                fix="correct --subdir, or name a revision that has it",
            )
    tree = git.run("ls-tree", "-r", "-z", commit, "--", *map(str, names))
    entries = (entry.partition("\t") for entry in tree.split("\0"))
    return [name for kind, _, name in entries if kind.startswith("160000 ")]


def _check_out(git: Git, commit: str, names: Sequence[PurePosixPath], output_dir: Path) -> None:
    """Write the wanted files.

    Through the index, as that fetches all missing contents of a partial repository at once.
    """
    settings = []
    if names:
        patterns = git.directory / "info" / "sparse-checkout"
        patterns.parent.mkdir(exist_ok=True)
        lines = ["/" + re.sub(r"([\\*?\[\]!# ])", r"\\\1", str(name)) for name in names]
        patterns.write_bytes(os.fsencode("\n".join(lines) + "\n"))
        settings = ["-c", "core.sparseCheckout=true", "-c", "core.sparseCheckoutCone=false"]
    git.run(*settings, "read-tree", "-m", "-u", commit, work_tree=output_dir)


def _inspect(output_dir: Path) -> int:
    """Count the files, warn of LFS pointers and refuse links that leave the directory or break.

    Raises:
        TaskError: ART104 or ART106.
    """
    root = output_dir.resolve()
    count, pointers, leaving, broken = 0, [], [], []
    for entry in links.walk(root):
        if entry.kind is links.Kind.LINK:
            leads_to = Path(os.path.realpath(entry.path))
            if _climbs_out(entry) or not leads_to.is_relative_to(root):
                leaving.append(entry.name)
            elif not leads_to.exists() or entry.path.is_relative_to(leads_to):
                broken.append(entry.name)
        elif entry.kind is links.Kind.FILE:
            count += 1
            if is_lfs_pointer(entry.path):
                pointers.append(entry.name)
    if leaving:
        raise TaskError(
            f"links lead out of the repository: {listed(leaving)}",
            code="ART104",
            why="they would reach whatever is at that place of this machine",
            fix="name the directories that are needed with --subdir, or another revision",
        )
    if broken:
        raise TaskError(
            f"links lead nowhere or in a circle: {listed(broken)}",
            code="ART106",
            why="what they lead to is not in the repository, in a submodule, or not in a --subdir",
            fix="name what they lead to with another --subdir, or leave their directory out",
        )
    if pointers:
        warn(
            "MDL115",
            f"Git LFS pointers instead of files: {listed(pointers)}",
            why="the contents are on an LFS server, which is not asked",
            fix="leave their directory out with --subdir if they are not needed",
        )
    return count


def _climbs_out(link: links.Entry) -> bool:
    """Return whether a link names a place above the root, be it on a way that comes back."""
    text = link.path.readlink()
    depth = link.name.count("/")
    for part in text.parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            return True
    return text.is_absolute()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mmtrt.tasks.clone",
        description="Fetch one commit of a git repository as plain files.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--output-dir", required=True, type=Path, metavar="DIR", help="where the files go; fresh"
    )
    parser.add_argument("--url", required=True, help="repository: an https, ssh or file URL")
    parser.add_argument(
        "--revision", required=True, metavar="REV", help="commit (all 40 digits), tag or branch"
    )
    parser.add_argument(
        "--subdir",
        action="append",
        default=[],
        metavar="DIR",
        help="only this directory, at its own path; repeat for more",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
