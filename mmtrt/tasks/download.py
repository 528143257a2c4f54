"""Stage ``download``: the files of a model, from a hub or from a directory of this machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmtrt.tasks import hub, links
from mmtrt.tasks.digests import check_digests, parse_expected
from mmtrt.tasks.hub_errors import offline
from mmtrt.tasks.hub_listing import (
    Listing,
    Repository,
    cache_directory,
    cached_listing,
    list_files,
)
from mmtrt.tasks.messages import (
    TaskError,
    TemporaryError,
    listed,
    note,
    quoted,
    run_stage,
    say,
    warn,
)
from mmtrt.tasks.selection import PICKLE_SUFFIXES, Choice, Patterns, choose
from mmtrt.tasks.weights import check_weights

NOT_MODEL = frozenset({".git", ".cache"})
"""Directories that git and the hub's library keep beside a model."""

EPILOG = """\
From a hub, the files go through its cache (HF_HOME) and are hard-linked into DIR; files in the
cache are not fetched again, and an interrupted download goes on where it ended. From a local
directory, every file becomes a symbolic link. Nothing else is written into DIR.

stderr carries lines `progress <done> <total> bytes`.

exit status:
  0   done
  1   it cannot be done as asked: no such file, no access, damaged weights, pickles, no space
  2   the command line cannot be understood
  75  the network failed; the same command may succeed later and fetches only the rest
  130 interrupted; what has come in is kept

examples:
  python -m mmtrt.tasks.download --output-dir out/llava --repo-id llava-hf/llava-1.5-7b-hf \\
      --revision COMMIT --include '*.json' '*.safetensors'
  python -m mmtrt.tasks.download --output-dir out/mine --local-dir ~/models/mine
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stage; return its exit status."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.repo_id and not args.revision:
        parser.error("--repo-id needs --revision, best a commit hash")
    if args.revision and not args.repo_id:
        parser.error("--revision belongs to --repo-id, not to a local path")
    if args.hub_cache and not args.repo_id:
        parser.error("--hub-cache belongs to --repo-id: a local path has no name on the hub")
    patterns = Patterns(
        tuple(pattern for group in args.include for pattern in group),
        tuple(pattern for group in args.exclude for pattern in group),
        args.allow_pickle,
    )
    if args.local_file:
        return run_stage(lambda: from_file(args.local_file, args.output_dir, args.allow_pickle))
    if args.local_dir:
        return run_stage(lambda: from_directory(args.local_dir, args.output_dir, patterns))
    repo = Repository(args.repo_id or "", args.revision or "", args.repo_type)
    expected = dict(args.expect)
    return run_stage(
        lambda: from_hub(repo, args.output_dir, patterns, expected, as_cache=args.hub_cache)
    )


def from_hub(
    repo: Repository,
    output_dir: Path,
    patterns: Patterns,
    expected: Mapping[str, str],
    *,
    as_cache: bool = False,
) -> None:
    """Fetch the wanted files, check them, and link them into ``output_dir``.

    Args:
        repo: what to fetch.
        output_dir: gets a link to each file.
        patterns: which files are wanted.
        expected: name -> digest of files that a lock knows; empty where there is none.
        as_cache: whether ``output_dir`` becomes a cache of the hub's, in which libraries find the
            repository by its name: ``HF_HUB_CACHE=output_dir``.

    Raises:
        TaskError: NET1xx, MDL1xx, SEC101 or ART1xx; see ``messages.CODES``.
        TemporaryError: if the network failed.
    """
    hub.prepare()
    folder, choice = _take(repo, patterns)
    files = {name: folder / name for name in choice.files}
    if expected:
        check_digests(files, expected)
    again = "; if it is whole on the hub, remove the copy in HF_HOME and run it again"
    check_weights(
        files,
        patterns.want,
        {
            "MDL115": "the repository itself holds pointers: choose another revision or mirror",
            "MDL116": f"the repository itself is damaged: choose another revision{again}",
            "MDL117": "widen recipe.stages.download.include, or choose a revision that has them",
        },
    )
    target = _snapshot(repo, folder.name, output_dir) if as_cache else output_dir
    linked = [
        # The blob, not the cache's own link to it: the cache may be pruned.
        links.link_file(path.resolve(), target / name, links.Otherwise.COPY)
        for name, path in files.items()
    ]
    if not all(linked):
        note(
            f"{linked.count(False)} files were copied: no hard link leads from the cache "
            f"`{quoted(str(cache_directory()))}` to the output; HF_HOME on the same file "
            "system saves the space"
        )
    size_bytes = sum(path.stat().st_size for path in files.values())
    say(f"{len(files)} files, {size_bytes} bytes, commit {folder.name}")


def _snapshot(repo: Repository, commit: str, cache: Path) -> Path:
    """Return where a cache keeps the files of a commit, and note it as the one that ``main`` means.

    Source: huggingface_hub, "Understand caching"; the links to ``blobs`` are optional.
    """
    place = cache / "--".join([f"{repo.repo_type}s", *repo.repo_id.split("/")])
    for name in {"main"} if repo.is_pinned else {"main", repo.revision}:
        ref = place / "refs" / name
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(commit, encoding="utf-8")
    return place / "snapshots" / commit


def from_directory(local_dir: Path, output_dir: Path, patterns: Patterns) -> None:
    """Check the wanted files of a local directory and link to each from ``output_dir``.

    Raises:
        TaskError: MDL1xx, SEC101 or ART1xx; see ``messages.CODES``.
    """
    found = local_files(local_dir, output_dir)
    choice = choose(found, patterns, f"`{quoted(str(local_dir))}`")
    _mention(choice)
    files = {name: found[name] for name in choice.files}
    check_weights(
        files,
        patterns.want,
        {
            "MDL115": f"run `git lfs install` and `git lfs pull` in `{quoted(str(local_dir))}`",
            "MDL116": "copy or download these files again",
            "MDL117": "copy or download the missing files, or widen the include patterns",
        },
    )
    for name, path in files.items():
        links.symlink(path.resolve(), output_dir / name)
    say(f"{len(files)} files linked from {quoted(str(local_dir.resolve()))}")


def from_file(local_file: Path, output_dir: Path, allow_pickle: bool) -> None:
    """Link to a model that is one file; it is called ``model`` and keeps its suffix.

    Raises:
        TaskError: MDL118, if there is no such file; SEC101, if it runs code when it is loaded.
    """
    if not local_file.is_file():
        raise TaskError(
            f"the local file `{quoted(str(local_file))}` does not exist",
            code="MDL118",
            fix="correct model.path",
        )
    if local_file.suffix in PICKLE_SUFFIXES and not allow_pickle:
        raise TaskError(
            f"`{quoted(local_file.name)}` runs code when it is loaded",
            code="SEC101",
            why=f"{local_file.suffix} files hold Python pickles",
            fix="take it from someone you trust, and set recipe.stages.download.allow_pickle=true",
        )
    links.symlink(local_file.resolve(), output_dir / f"model{local_file.suffix}")
    say(f"1 file linked from {quoted(str(local_file.resolve()))}")


def local_files(local_dir: Path, output_dir: Path) -> dict[str, Path]:
    """Return the files below a directory by their names, links followed, ``output_dir`` left out.

    Raises:
        TaskError: MDL118, if there is no such directory or no file in it; ART106, if a link leads
            nowhere.
    """
    if not local_dir.is_dir():
        raise TaskError(
            f"the local directory `{quoted(str(local_dir))}` "
            + ("is not a directory" if local_dir.exists() else "does not exist"),
            code="MDL118",
            fix="correct model.path; a repository on a hub reads `owner/name`",
        )
    files: dict[str, Path] = {}
    _collect(local_dir, "", {output_dir.resolve()}, files)
    if not files:
        raise TaskError(
            f"the local directory `{quoted(str(local_dir))}` holds no files",
            code="MDL118",
            fix="correct model.path, or copy the model there first",
        )
    return files


def _collect(folder: Path, prefix: str, above: set[Path], files: dict[str, Path]) -> None:
    here = above | {folder.resolve()}
    for path in sorted(folder.iterdir()):
        name = f"{prefix}{path.name}"
        if path.name in NOT_MODEL:
            continue
        if path.is_dir():
            if path.resolve() not in here:  # neither the output nor a link back up
                _collect(path, f"{name}/", here, files)
        elif path.is_file():
            files[name] = path
        elif path.is_symlink():
            raise TaskError(
                f"the link `{quoted(str(path))}` leads nowhere",
                code="ART106",
                fix="bring the file back, or remove the link",
            )


def _take(repo: Repository, patterns: Patterns) -> tuple[Path, Choice]:
    """Return the directory of the cache with the files, and which of them are wanted."""
    failure: TaskError | None = None
    listing: Listing | None
    if hub.is_offline():
        listing = cached_listing(repo)
        unknown = "it holds no list of the commit's files, so nothing tells whether it is whole"
        failure = offline(repo.repo_id, repo.revision, None if listing else unknown)
    else:
        try:
            listing = list_files(repo)
        except TemporaryError as error:
            # Only a commit hash still means the same.
            failure, listing = error, cached_listing(repo) if repo.is_pinned else None
    if listing is None:
        assert failure is not None
        raise failure
    choice = choose((file.name for file in listing.files), patterns, str(repo))
    if failure is None:
        folder = hub.fetch(repo, listing, choice.files)
    elif (cached := hub.cached_snapshot(repo, listing, choice.files)) is None:
        raise failure
    else:
        folder = cached
        if isinstance(failure, TemporaryError):
            note(f"{failure.message}; the cache holds everything of this commit")
    _mention(choice)
    _mention_moving(repo, listing.commit)
    return folder, choice


def _mention(choice: Choice) -> None:
    if choice.pickles:
        note(f"pickled files are left out: {listed(choice.pickles)}")
    if choice.unmatched:
        note(f"no file fits the include pattern {listed(choice.unmatched)}")


def _mention_moving(repo: Repository, commit: str) -> None:
    if not repo.is_pinned:
        warn(
            "MDL101",
            f"the revision of {repo} is not a commit hash",
            why="a branch or a tag can point to other files tomorrow, under the same name",
            fix=f"set model.revision={commit}, the commit that it is now",
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mmtrt.tasks.download",
        description="Bring a model's files into a directory, and check that they are whole.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--output-dir", required=True, type=Path, metavar="DIR", help="where the files go; fresh"
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--repo-id", metavar="OWNER/NAME", help="repository on the hub")
    source.add_argument(
        "--local-dir", type=Path, metavar="DIR", help="directory that holds the model already"
    )
    source.add_argument("--local-file", type=Path, metavar="FILE", help="model that is one file")
    parser.add_argument(
        "--revision", metavar="COMMIT", help="commit hash (a branch or tag works, with a warning)"
    )
    parser.add_argument(
        "--repo-type",
        choices=("model", "dataset", "space"),
        default="model",
        help="kind of repository (default: model)",
    )
    parser.add_argument(
        "--include",
        nargs="+",
        action="append",
        default=[],
        metavar="GLOB",
        help="take only files that fit one of these; a name without wildcard must exist",
    )
    parser.add_argument(
        "--exclude",
        nargs="+",
        action="append",
        default=[],
        metavar="GLOB",
        help="of those, leave out files that fit one of these",
    )
    parser.add_argument(
        "--expect",
        action="append",
        default=[],
        type=parse_expected,
        metavar="DIGEST=NAME",
        help="refuse other content of a file, and files not named so: sha256:..., git-sha1:... or "
        "blake3:...; repeat for all",
    )
    parser.add_argument(
        "--hub-cache",
        action="store_true",
        help="lay DIR out as the hub's cache: with HF_HUB_CACHE=DIR libraries find the repository "
        "by its name",
    )
    parser.add_argument(
        "--allow-pickle",
        action="store_true",
        help="also take weights that run code when loaded (.bin .pt .pth .ckpt .pkl .pickle .nemo)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
