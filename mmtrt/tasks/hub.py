"""Talk to the model hub: list a repository, fill the hub's cache so that it can be resumed.

``huggingface_hub`` owns the requests, the credentials and the layout of the cache. What it does not
do any more (2.4 deletes it) is to keep the part of a file that a failed attempt has fetched; so
large files are fetched here, into ``<cache>/<repository>/blobs/<etag>.mmtrt.incomplete``, and moved
to the place where ``snapshot_download`` looks for them. Should that place ever change, the library
fetches the files itself and only the resuming is lost.

The library is imported inside functions: it takes time that ``--help`` does not have.
"""

from __future__ import annotations

import fcntl
import glob
import hashlib
import io
import os
import re
import shutil
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mmtrt.tasks.hub_errors import explained
from mmtrt.tasks.links import relative_name
from mmtrt.tasks.messages import TaskError, TemporaryError, note, quoted
from mmtrt.tasks.progress import Progress
from mmtrt.tasks.selection import Patterns

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

RESUME_FROM_BYTES = 1 << 20
"""Smaller files are not worth resuming. Chosen."""
CHUNK_BYTES = 1 << 20
"""Most that a broken connection can lose. Chosen; the library's own value is 10 MiB."""
WORKERS = 8
"""Files fetched at a time; the library's own default."""
PAUSE_S = 1.0
"""Between a broken connection and the next one; the library's own value."""
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
    storage = _storage(repo)
    with Progress(sum(file.size_bytes for file in files)) as progress:
        wanted = _not_cached(files, storage, listing.commit, progress)
        _require_space(wanted, storage)
        _fetch_large([file for file in wanted if _is_resumable(file)], repo, listing, progress)
        folder = _finish(repo, listing, names)
        for file in files:
            progress.set(file.name, file.size_bytes)
    return folder


def cached_snapshot(repo: Repository, patterns: Patterns) -> Path | None:
    """Return the directory of the cache that holds everything wanted, without any request.

    An old library keeps no list of what belongs to a commit; what is there is then taken for whole,
    and the checks that follow must find what is missing.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    from mmtrt.tasks.selection import PICKLE_SUFFIXES

    pickles = [] if patterns.allow_pickle else [f"*{suffix}" for suffix in PICKLE_SUFFIXES]
    try:
        folder = snapshot_download(
            repo.repo_id,
            revision=repo.revision,
            repo_type=repo.repo_type,
            allow_patterns=list(patterns.include) or None,
            ignore_patterns=[*patterns.exclude, *pickles] or None,
            local_files_only=True,
        )
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    return Path(folder)


def cache_is_whole(repo: Repository, patterns: Patterns) -> bool:
    """Return whether the cache can stand in for a hub that does not answer.

    Only for a commit hash, and only if the library knows what belongs to it.
    """
    if not repo.is_pinned:
        return False
    try:
        from huggingface_hub import get_cached_repo_tree
    except ImportError:  # before 2.0 the library kept no such list
        return False
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    try:
        get_cached_repo_tree(repo.repo_id, repo_type=repo.repo_type, revision=repo.revision)
    except CachedRepoTreeNotFoundError:
        return False
    return cached_snapshot(repo, patterns) is not None


def cache_directory() -> Path:
    """Return where the library keeps what it fetched."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).expanduser()


class _StoppedError(Exception):
    """Another file failed, or the user gave up; this one stops where it is."""


class _Partial(io.FileIO):
    """The beginning of a file, which reports its length and stops when it is told to."""

    def __init__(self, path: Path, name: str, progress: Progress, stop: threading.Event) -> None:
        super().__init__(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+")
        self._label = name
        self._progress = progress
        self._stop = stop

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all of it and report, or raise ``_StoppedError``."""
        if self._stop.is_set():
            raise _StoppedError
        left = memoryview(data)
        while left:
            left = left[super().write(left) :]
        self.report(self.tell())
        return memoryview(data).nbytes

    def report(self, length: int) -> None:
        """Say how much of the file is there."""
        self._progress.set(self._label, length)

    def truncate(self, size: int | None = None, /) -> int:
        """Cut and report."""
        length = super().truncate(size)
        self.report(length)
        return length


def _storage(repo: Repository) -> Path:
    from huggingface_hub.file_download import repo_folder_name

    name: str = repo_folder_name(repo_id=repo.repo_id, repo_type=repo.repo_type)
    return cache_directory() / name


def _is_resumable(file: RemoteFile) -> bool:
    from huggingface_hub import constants

    # Plain HTTP ends at the upper bound (50 GB): such a file comes through the library, by Xet.
    return RESUME_FROM_BYTES <= file.size_bytes <= int(constants.MAX_HTTP_DOWNLOAD_SIZE)


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


def _fetch_large(
    files: Sequence[RemoteFile], repo: Repository, listing: Listing, progress: Progress
) -> None:
    stop = threading.Event()
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="fetch") as pool:
        pending = [
            pool.submit(_fetch_one, file, repo, listing.commit, progress, stop) for file in files
        ]
        try:
            for done in as_completed(pending):
                done.result()
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _fetch_one(
    file: RemoteFile, repo: Repository, commit: str, progress: Progress, stop: threading.Event
) -> None:
    """Fetch one blob to where the library looks for it; it makes the link with the name later."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(repo.repo_id, file.name, repo_type=repo.repo_type, revision=commit)
    with explained(repo.repo_id, repo.revision, file.name):
        etag = get_hf_file_metadata(url).etag
    if etag is None or not re.fullmatch(r"[\w-]{8,128}", etag):
        return  # a mirror with rules of its own: left to the library
    blob = _storage(repo) / "blobs" / etag
    partial = blob.with_name(f"{etag}.mmtrt.incomplete")
    blob.parent.mkdir(parents=True, exist_ok=True)
    while not blob.is_file() or blob.stat().st_size != file.size_bytes:
        with _Partial(partial, file.name, progress, stop) as target:
            if not _lock(target, partial, stop):
                continue
            _fill(target, url, file, repo)
            os.fsync(target.fileno())
            partial.replace(blob)
    progress.set(file.name, file.size_bytes)


def _lock(target: _Partial, path: Path, stop: threading.Event) -> bool:
    """Wait until no other process or thread writes this file.

    Returns:
        False, if by then it is no longer the file at ``path``: the other one has finished it.
    """
    while True:
        try:
            fcntl.flock(target, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if stop.is_set():
                raise _StoppedError from None
            target.report(os.fstat(target.fileno()).st_size)
            time.sleep(0.2)
            continue
        except OSError:
            pass  # no locks on this file system: what arrives is checked against its digest
        try:
            return os.path.samestat(os.fstat(target.fileno()), path.stat())
        except FileNotFoundError:
            return False


def _fill(target: _Partial, url: str, file: RemoteFile, repo: Repository) -> None:
    """Append what is missing and compare the whole with what the hub announced."""
    if target.seek(0, os.SEEK_END) > file.size_bytes:
        target.truncate(0)
    while True:
        have_bytes = target.seek(0, os.SEEK_END)
        target.report(have_bytes)
        try:
            _append(target, url, have_bytes, file, repo)
            break
        except TemporaryError as failure:
            if failure.code == "NET104":
                target.truncate(0)
            # Some versions of the library go on by themselves after a broken connection, some do
            # not. Here it goes on as long as every connection brings something.
            if failure.code != "NET101" or target.tell() <= have_bytes:
                raise
        time.sleep(PAUSE_S)
    if not _is_as_announced(target, file):
        target.truncate(0)
        raise TemporaryError(
            f"`{quoted(file.name)}` arrived damaged and was thrown away",
            code="NET104",
            why="its digest is not the one that the hub announced",
            fix="run it again; if it happens again, a proxy or the disk changes bytes",
        )


def _append(
    target: _Partial, url: str, have_bytes: int, file: RemoteFile, repo: Repository
) -> None:
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    with explained(repo.repo_id, repo.revision, file.name):
        # The address on the hub, not the storage it redirects to: that is signed and expires.
        # A redirect to another host loses the credentials, as it should.
        http_get(
            url,
            target,
            resume_size=have_bytes,
            headers={**build_hf_headers(), "Accept-Encoding": "identity"},
            expected_size=file.size_bytes,
        )


def _is_as_announced(target: _Partial, file: RemoteFile) -> bool:
    if os.fstat(target.fileno()).st_size != file.size_bytes:
        return False
    if file.sha256:
        hasher, wanted = hashlib.sha256(), file.sha256
    elif file.git_oid and re.fullmatch(r"[0-9a-f]{40}", file.git_oid):
        hasher = hashlib.sha1(b"blob %d\0" % file.size_bytes, usedforsecurity=False)
        wanted = file.git_oid
    else:
        return True
    target.seek(0)
    while data := target.read(CHUNK_BYTES):
        hasher.update(data)
    return hasher.hexdigest() == wanted


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
