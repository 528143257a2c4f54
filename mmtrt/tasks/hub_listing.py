"""What a hub has: a repository's files at one commit.

A commit never changes, so its list is kept beside the files in the hub's cache: without one,
nothing tells whether what is cached is all there is.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from mmtrt.artifacts.atomic import write_text
from mmtrt.errors import ArtifactError
from mmtrt.tasks.hub_errors import explained
from mmtrt.tasks.links import relative_name
from mmtrt.tasks.messages import TemporaryError, quoted

TIMEOUT_S = 30
"""For the listing; transfers use the library's HF_HUB_DOWNLOAD_TIMEOUT. Chosen."""


@dataclass(frozen=True)
class Repository:
    """What to fetch from."""

    repo_id: str
    revision: str
    repo_type: str = "model"

    def __str__(self) -> str:
        return f"`{quoted(self.repo_id)}` at `{quoted(self.revision)}`"

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a commit hash, which can never mean something else."""
        return re.fullmatch(r"[0-9a-f]{40}", self.revision) is not None


@dataclass(frozen=True)
class RemoteFile:
    """A file as the hub announces it."""

    name: str
    size_bytes: int
    git_oid: str | None
    """SHA-1 of the git object; for an LFS file that of its pointer, so then unused."""
    sha256: str | None
    """Of the content; known for LFS files."""


@dataclass(frozen=True)
class Listing:
    """The files of a repository at one commit."""

    commit: str
    files: tuple[RemoteFile, ...]


def list_files(repo: Repository) -> Listing:
    """Ask the hub for the commit behind a revision and for its files.

    Raises:
        TaskError: NET1xx or MDL11x, see ``hub_errors``; ART104, for a name that leaves the model.
        TemporaryError: NET101 and NET102.
    """
    from huggingface_hub import HfApi

    with explained(repo.repo_id, repo.revision):
        answer = HfApi().repo_info(
            repo.repo_id,
            revision=repo.revision,
            repo_type=repo.repo_type,
            files_metadata=True,
            timeout=TIMEOUT_S,
        )
    files = []
    for sibling in answer.siblings or []:
        relative_name(sibling.rfilename)
        lfs = sibling.lfs
        files.append(
            RemoteFile(
                name=sibling.rfilename,
                size_bytes=(lfs.size if lfs else sibling.size) or 0,
                git_oid=sibling.blob_id if not lfs else None,
                sha256=lfs.sha256 if lfs else None,
            )
        )
    if answer.sha is None:
        raise TemporaryError(
            f"the hub names no commit for {repo}",
            code="NET105",
            fix="try again; or check that HF_ENDPOINT is a hub",
        )
    listing = Listing(answer.sha, tuple(files))
    _keep(repo, listing)
    return listing


def cached_listing(repo: Repository) -> Listing | None:
    """Return the list of a commit as the hub told it before, without any request.

    The library (2.0 and later) keeps lists as well, of what it fetches by itself.
    """
    commit = repo.revision
    if not repo.is_pinned:
        try:
            commit = (storage_of(repo) / "refs" / repo.revision).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return None
    try:
        rows = json.loads(_kept(repo, commit).read_bytes())
        return Listing(commit, tuple(RemoteFile(**row) for row in rows))
    except (OSError, ValueError, TypeError):
        return _library_listing(repo, commit)


def _library_listing(repo: Repository, commit: str) -> Listing | None:
    try:
        from huggingface_hub import get_cached_repo_tree
        from huggingface_hub.errors import CachedRepoTreeNotFoundError, HFValidationError
    except ImportError:  # before 2.0 the library kept no such list
        return None
    try:
        rows = get_cached_repo_tree(repo.repo_id, repo_type=repo.repo_type, revision=commit)
    except (CachedRepoTreeNotFoundError, HFValidationError):
        return None
    files = [
        RemoteFile(
            row.path,
            row.lfs.size if row.lfs else row.size,
            None if row.lfs else row.blob_id,
            row.lfs.sha256 if row.lfs else None,
        )
        for row in rows
    ]
    return Listing(commit, tuple(files))


def cache_directory() -> Path:
    """Return where the library keeps what it fetched."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).expanduser()


def storage_of(repo: Repository) -> Path:
    """Return where the cache keeps a repository."""
    from huggingface_hub.file_download import repo_folder_name

    name: str = repo_folder_name(repo_id=repo.repo_id, repo_type=repo.repo_type)
    return cache_directory() / name


def _kept(repo: Repository, commit: str) -> Path:
    return storage_of(repo) / "trees" / f"{commit}.mmtrt.json"


def _keep(repo: Repository, listing: Listing) -> None:
    place = _kept(repo, listing.commit)
    with suppress(OSError, ArtifactError):  # a cache that may only be read
        place.parent.mkdir(parents=True, exist_ok=True)
        write_text(place, json.dumps([asdict(file) for file in listing.files]))
