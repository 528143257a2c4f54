"""What a hub has: a repository's files at one commit."""

from __future__ import annotations

import re
from dataclasses import dataclass

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
    return Listing(answer.sha, tuple(files))
