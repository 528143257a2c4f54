"""Large files of a hub, fetched so that an interrupted one goes on where it ended.

Into ``<cache>/<repository>/blobs/<etag>.mmtrt.incomplete``, and from there to the place where
``snapshot_download`` looks for them. Should that place ever change, the library fetches the files
itself and only the resuming is lost.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import re
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING

from mmtrt.tasks.hub_errors import explained
from mmtrt.tasks.hub_listing import RemoteFile, Repository, storage_of
from mmtrt.tasks.messages import TemporaryError, quoted
from mmtrt.tasks.progress import Progress

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
WAKE_S = 0.5
"""How often the main thread looks for a signal. Chosen; nobody who presses Ctrl-C notices it."""


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


def is_resumable(file: RemoteFile) -> bool:
    """Return whether a file is worth resuming, and whether that is possible."""
    from huggingface_hub import constants

    # Plain HTTP ends at the upper bound (50 GB): such a file comes through the library, by Xet.
    return RESUME_FROM_BYTES <= file.size_bytes <= int(constants.MAX_HTTP_DOWNLOAD_SIZE)


def fetch_large(
    files: Sequence[RemoteFile], repo: Repository, commit: str, progress: Progress
) -> None:
    """Bring files into the cache, several at a time; the first that fails stops the others.

    Raises:
        TaskError: NET1xx or MDL11x, see ``hub_errors``.
        TemporaryError: NET101, NET102, NET104.
    """
    stop = threading.Event()
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="fetch") as pool:
        pending = [pool.submit(_fetch_one, file, repo, commit, progress, stop) for file in files]
        try:
            left = set(pending)
            while left:
                # Never without end: a signal that comes while we are stopped (Ctrl-Z, then
                # `kill %1`) may be handed to another thread, and then does not wake this one.
                done, left = wait(left, WAKE_S, FIRST_COMPLETED)
                for each in done:
                    each.result()
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
    blob = storage_of(repo) / "blobs" / etag
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
