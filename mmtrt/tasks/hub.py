"""Fill the hub's cache with what is wanted, or find it there.

``huggingface_hub`` owns the requests, the credentials and the layout of the cache. What it does not
do any more (2.4 deletes it) is to keep the part of a file that a failed attempt has fetched; so
large files are fetched by ``hub_blobs``.

The library is imported inside functions: it takes time that ``--help`` does not have.
"""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from mmtrt.tasks.hub_blobs import CHUNK_BYTES, fetch_large, is_resumable
from mmtrt.tasks.hub_errors import explained
from mmtrt.tasks.hub_listing import Listing, RemoteFile, Repository, storage_of
from mmtrt.tasks.messages import TaskError, TemporaryError, note, quoted
from mmtrt.tasks.progress import Progress


def prepare() -> None:
    """Silence the library's own bars and log lines, which may hold signed URLs."""
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    os.environ["HF_HUB_VERBOSITY"] = "error"
    os.environ["HF_HUB_ENABLE_HF_TRANSFER"] = "0"  # it cannot resume; libraries before 1.0 heed it
    from huggingface_hub import constants

    constants.DOWNLOAD_CHUNK_SIZE = CHUNK_BYTES


def is_offline() -> bool:
    """Return whether the user has forbidden requests, with HF_HUB_OFFLINE=1."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def fetch(repo: Repository, listing: Listing, names: Sequence[str]) -> Path:
    """Bring the named files into the cache, resuming where an earlier attempt ended.

    Interrupted at any point, what has come in stays; the next call asks for the rest of each file.

    Returns:
        The directory of the cache that holds the files under their names, as links.

    Raises:
        TaskError: NET1xx, MDL11x or ART105.
        TemporaryError: NET101, NET102, NET104.
    """
    by_name = {file.name: file for file in listing.files}
    files = [by_name[name] for name in names]
    storage = storage_of(repo)
    with Progress(sum(file.size_bytes for file in files)) as progress:
        wanted = _not_cached(files, storage, listing.commit, progress)
        _require_space(wanted, storage)
        fetch_large([file for file in wanted if is_resumable(file)], repo, listing.commit, progress)
        folder = _finish(repo, listing, names)
        for file in files:
            progress.set(file.name, file.size_bytes)
    return folder


def cached_snapshot(repo: Repository, listing: Listing, names: Sequence[str]) -> Path | None:
    """Return the directory of the cache that holds the named files whole, without any request."""
    folder = storage_of(repo) / "snapshots" / listing.commit
    sizes = {file.name: file.size_bytes for file in listing.files}
    for name in names:
        try:
            if (folder / name).stat().st_size != sizes[name]:
                return None
        except OSError:
            return None
    return folder


def _not_cached(
    files: Sequence[RemoteFile], storage: Path, commit: str, progress: Progress
) -> list[RemoteFile]:
    """Return the files that must be fetched; a cached one of the wrong length is thrown away."""
    wanted = []
    for file in files:
        pointer = storage / "snapshots" / commit / file.name
        if not pointer.is_file():
            wanted.append(file)
        elif pointer.stat().st_size == file.size_bytes:
            progress.set(file.name, file.size_bytes)
        else:
            note(
                f"the cached `{quoted(file.name)}` has {pointer.stat().st_size} of "
                f"{file.size_bytes} bytes and is fetched again"
            )
            _discard(pointer, storage)
            wanted.append(file)
    return wanted


def _discard(pointer: Path, storage: Path) -> None:
    blob = pointer.resolve()
    pointer.unlink()
    if blob.is_relative_to(storage.resolve()):
        blob.unlink(missing_ok=True)


def _require_space(files: Sequence[RemoteFile], storage: Path) -> None:
    place = next(p for p in (storage, *storage.parents) if p.exists())
    free_bytes = shutil.disk_usage(place).free
    partial_bytes = sum(p.stat().st_size for p in storage.glob("blobs/*.mmtrt.incomplete"))
    need_bytes = sum(file.size_bytes for file in files) - partial_bytes
    if need_bytes > free_bytes:
        raise TaskError(
            f"{need_bytes / 2**30:.1f} GiB are still to be fetched, "
            f"and {free_bytes / 2**30:.1f} GiB are free at `{quoted(str(place))}`",
            code="ART105",
            fix="free some space, or set HF_HOME to a directory on a larger disk, best the one "
            "that also holds the store: the files are then linked instead of copied",
        )


def _finish(repo: Repository, listing: Listing, names: Sequence[str]) -> Path:
    """Let the library fetch the small files and name everything in its cache."""
    from huggingface_hub import snapshot_download

    with explained(repo.repo_id, repo.revision):
        folder = Path(
            snapshot_download(
                repo.repo_id,
                revision=repo.revision,
                repo_type=repo.repo_type,
                allow_patterns=[glob.escape(name) for name in names],
            )
        )
    if folder.name != listing.commit:
        raise TemporaryError(
            f"`{quoted(repo.revision)}` moved to another commit during the download",
            code="NET104",
            fix=f"run it again, or pin model.revision={listing.commit}",
        )
    if gone := [name for name in names if not (folder / name).is_file()]:
        raise TemporaryError(
            f"the hub did not deliver `{quoted(gone[0])}`",
            code="NET101",
            why="the connection failed near the end and the library fell back to its cache",
            fix="run it again: only the rest is fetched",
        )
    return folder
