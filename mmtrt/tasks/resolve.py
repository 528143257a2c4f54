"""What moving names stand for now: a branch, a tag, requirements; nothing is fetched or installed.

No stage: ``mmtrt lock`` starts it, so that the core imports neither the hub's library nor pip.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmtrt.tasks import hub
from mmtrt.tasks.clone import clone, full_name, references
from mmtrt.tasks.digests import digest_of
from mmtrt.tasks.env import resolve as resolve_packages
from mmtrt.tasks.git import Git
from mmtrt.tasks.hub_errors import offline
from mmtrt.tasks.hub_listing import Repository, cached_listing, list_files
from mmtrt.tasks.messages import TaskError, TemporaryError, disk_failure, scrub
from mmtrt.tasks.overlay import Overlay
from mmtrt.tasks.pip import find_pip
from mmtrt.tasks.requirements import read_files
from mmtrt.tasks.selection import Patterns, choose

EPILOG = """\
stdin is a JSON object: name -> question, each one of
  {"kind": "hub", "repo": "owner/name", "revision": "main",
   "include": [], "exclude": [], "allow_pickle": false}
  {"kind": "git", "url": "https://...", "revision": "v1.2.1"}
  {"kind": "pip", "requirements": ["transformers>=4.45"], "files": [],
   "repository": null | {"url", "revision", "directory"}}
files with a relative path lie in the directory, or are taken from the repository

stdout is one, too: name -> answer, each one of
  {"commit": "...", "files": [{"name", "size", "digest"}]}    of hub; of git without files
  {"packages": ["name==version --hash=sha256:..."]}           of pip
  {"error": {"code", "message", "why", "fix", "is_temporary"}}

exit status: 0, also if some answers are errors; 2 if the questions cannot be understood
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Answer the questions on stdin."""
    parser = argparse.ArgumentParser(
        prog="python -m mmtrt.tasks.resolve",
        description="Tell what branches, tags and requirements stand for now.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.parse_args(argv)
    try:
        questions = {name: dict(question) for name, question in json.load(sys.stdin).items()}
        asked = {name: _KINDS[question["kind"]] for name, question in questions.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        parser.error(f"stdin holds no questions: {error!r}")
    answers = {name: _answer(asked[name], question) for name, question in questions.items()}
    json.dump(answers, sys.stdout, ensure_ascii=False)
    return 0


def _answer(
    find: Callable[[Mapping[str, Any]], dict[str, Any]], question: Mapping[str, Any]
) -> dict[str, Any]:
    try:
        return find(question)
    except OSError as refusal:
        failure = disk_failure(refusal)
    except TaskError as error:
        failure = error
    said = [scrub(line) for _, text in failure.blocks for line in text.splitlines()[-3:]]
    return {
        "error": {
            "code": failure.code,
            "message": scrub(failure.message),
            "why": scrub(failure.why) if failure.why else "; ".join(said) or None,
            "fix": scrub(failure.fix) if failure.fix else None,
            "is_temporary": isinstance(failure, TemporaryError) or failure.code == "NET103",
        }
    }


def of_hub(question: Mapping[str, Any]) -> dict[str, Any]:
    """Return the commit behind a revision and the wanted files; offline, as the cache knows them.

    Raises:
        TaskError: NET1xx, MDL11x or SEC101.
        TemporaryError: if the network failed.
    """
    hub.prepare()
    repo = Repository(question["repo"], question["revision"])
    patterns = Patterns(
        tuple(question["include"]), tuple(question["exclude"]), bool(question["allow_pickle"])
    )
    listing = cached_listing(repo) if hub.is_offline() else list_files(repo)
    if listing is None:
        raise offline(repo.repo_id, repo.revision)
    taken = choose((file.name for file in listing.files), patterns, str(repo)).files
    rows = {file.name: file for file in listing.files}
    files = [
        {"name": name, "size": rows[name].size_bytes, "digest": digest}
        for name in taken
        if (digest := digest_of(rows[name])) is not None
    ]
    # A mirror may announce no digests; then none are held against what comes.
    return {"commit": listing.commit, "files": files if len(files) == len(taken) else []}


def of_git(question: Mapping[str, Any]) -> dict[str, Any]:
    """Return the commit behind a tag or a branch.

    Raises:
        TaskError: MDL11x, NET106, ART110 or ART111.
        TemporaryError: NET101 or NET102.
    """
    with tempfile.TemporaryDirectory(prefix="mmtrt-resolve-") as scratch:
        git = Git(Path(scratch, "repository"), question["url"], question["revision"])
        git.init()
        found = references(git)
        name = full_name(git, found)
    # A tag with a message is an object of its own; behind the name with ^{} stands its commit.
    return {"commit": found.get(f"{name}^{{}}", found[name])}


def of_pip(question: Mapping[str, Any]) -> dict[str, Any]:
    """Return what requirements come to for this Python.

    Raises:
        TaskError: ART1xx or NET106.
        TemporaryError: NET101.
    """
    with tempfile.TemporaryDirectory(prefix="mmtrt-resolve-") as scratch:
        files = [Path(each) for each in question["files"]]
        if question["repository"]:
            below = _directory(question["repository"], files, Path(scratch, "code"))
            files = [below / each for each in files]
        asked = [*question["requirements"], *read_files(files)]
        overlay = Overlay(Path(scratch, "env"))
        overlay.create()
        place = Path(scratch, "pip")
        place.mkdir()
        pins = resolve_packages(find_pip(overlay.python, place), asked)
    return {"packages": [pin.line for pin in pins]}


def _directory(repository: Mapping[str, str], files: Sequence[Path], fresh: Path) -> Path:
    """Return where a repository lies; if nowhere, fetch the directories of the files."""
    if "directory" in repository:
        return Path(repository["directory"])
    subdirs = sorted({str(file.parent) for file in files if not file.is_absolute()})
    before = Path.cwd()
    os.chdir(fresh.parent)  # what the clone needs on its way lies in the working directory
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is for the answers
            clone(repository["url"], repository["revision"], subdirs, fresh)
    finally:
        os.chdir(before)
    return fresh


_KINDS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "hub": of_hub,
    "git": of_git,
    "pip": of_pip,
}


if __name__ == "__main__":
    sys.exit(main())
