"""Content digests of files and directories, computed in threads and never twice.

``blake3`` and ``sqlite3`` are imported on first use: where every stage is a hit, neither is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from mmtrt.artifacts.faults import explain, quoted
from mmtrt.artifacts.manifest import FileEntry
from mmtrt.artifacts.threads import in_threads
from mmtrt.artifacts.tree import Leaf, scan
from mmtrt.errors import ArtifactError

if TYPE_CHECKING:
    import sqlite3

YOUNG_NS = 2_000_000_000
"""A file changed less than this before it was hashed is not memoised.

A second edit within one tick of the file system's clock could keep size and times. The coarsest
clock in use ticks every 2 s (FAT); a time in the future counts as young, too.
"""

_ATTEMPTS = 3
"""Chosen: hashing begins again so often if a file changes, or only its links do, meanwhile."""

FILE_THREADS = 4
"""Chosen: BLAKE3 itself uses all cores; a few files at once keep the disk busy meanwhile."""

_MANY_BYTES = 4 << 20
"""Chosen: below this, starting threads costs more than it saves."""

_FLUSH_BYTES = 256 << 20
"""Chosen: at most this much hashing is lost when the process is killed."""

_WORTH_BYTES = 64 << 20
"""Chosen: only for so much hashing (10 ms) is the directory of a memo made."""

_pool_owner: int | None = None
"""Process that started BLAKE3's threads. They do not live on in a fork, where waiting for them
would never end, so a fork hashes in the thread that calls."""


def hash_file(path: str | os.PathLike[str]) -> str:
    """Return the BLAKE3 digest of a file's bytes as 64 hexadecimal digits.

    The file is mapped into memory and hashed on all cores. A file that another process cuts short
    meanwhile can end this process with SIGBUS, as with every program that maps files.

    Raises:
        ArtifactError: ART15x, if it cannot be read.
    """
    from blake3 import blake3

    global _pool_owner
    if _pool_owner is None:
        _pool_owner = os.getpid()
    threads = blake3.AUTO if _pool_owner == os.getpid() else 1
    try:
        return str(blake3(max_threads=threads).update_mmap(path).hexdigest())
    except OSError as error:
        raise explain(error, "read", path) from error


def digest_tree(
    root: Path,
    memo: DigestMemo | None = None,
    wants: Callable[[str], bool] | None = None,
) -> dict[str, FileEntry]:
    """Return relative path to entry for every file below a directory, links followed.

    Args:
        root: a directory of the user's, or one file, which then has the path ``""``.
        memo: remembers digests from one run to the next.
        wants: tells by its relative path whether a file counts; default all.

    Raises:
        ArtifactError: ART16x, as :func:`mmtrt.artifacts.tree.scan`; ART165, if a file is being
            written; ART15x, if it cannot be read.
    """
    memo = memo or DigestMemo(None)
    tree = scan(os.fspath(root), wants)

    def read(leaf: Leaf) -> FileEntry:
        status, digest = memo.measure(leaf.location)
        return entry_of(leaf, status, digest)

    # Files that are remembered take microseconds; only the others are worth a thread.
    unknown = [leaf for leaf in tree.files if memo.lookup(leaf.stat) is None]
    entries = in_threads(read, tree.files, file_threads(unknown))
    memo.flush()
    return {entry.path: entry for entry in entries}


def entry_of(leaf: Leaf, status: os.stat_result, digest: str) -> FileEntry:
    """Return the record of a file."""
    is_executable = bool(status.st_mode & 0o111)
    return FileEntry(leaf.path, status.st_size, status.st_mtime_ns, digest, is_executable)


def file_threads(files: list[Leaf]) -> int:
    """Return how many files to hash at once."""
    return FILE_THREADS if sum(leaf.stat.st_size for leaf in files) > _MANY_BYTES else 1


class DigestMemo:
    """Digests by (device, inode, size, mtime_ns, ctime_ns), kept in a small SQLite file.

    The change time (ctime) is the kernel's: programs that set the time of a file after writing it
    (``cp -p``, ``rsync -t``, ``tar``) cannot set it, and a new file with the inode of a deleted one
    has a later one. Linking and changing permissions move it, too, so such a file is hashed once
    more. Files of the store, which are linked often, are known by their manifests instead; see
    ``outputs.seal``.

    Processes and threads may share the file. Where it cannot be read or written, digests are
    remembered in this object only, without a word: it makes things fast, never right.
    """

    def __init__(self, path: Path | None) -> None:
        """Use the file ``path``, made when first needed; ``None`` remembers in memory only."""
        self._path = path
        self._lock = Lock()
        self._known: dict[tuple[int, int], tuple[int, int, int, str]] = {}
        self._pending: dict[tuple[int, int], tuple[int, int, int, str]] = {}
        self._connection: sqlite3.Connection | None = None
        self._connected_in: int | None = None
        self._is_read_only = False

    def digest(self, file: Path) -> str:
        """Return the digest of a file, hashed only if it is not known.

        Raises:
            ArtifactError: ART165, if the file is being written; ART15x, if it cannot be read.
        """
        _, digest = self.measure(file)
        self.flush()
        return digest

    def measure(self, file: str | os.PathLike[str]) -> tuple[os.stat_result, str]:
        """Return a file's status and digest, which belong together; :meth:`flush` after many.

        Raises:
            ArtifactError: ART165, if the file is being written; ART15x, if it cannot be read.
        """
        for _ in range(_ATTEMPTS):
            began_ns = time.time_ns()
            before = _status(file)
            if (known := self.lookup(before)) is not None:
                return before, known
            digest = hash_file(file)
            after = _status(file)
            if _identity(before) == _identity(after):
                if began_ns - after.st_ctime_ns >= YOUNG_NS:
                    self._record(after, digest)
                return after, digest
        raise changed_while_read(os.fspath(file))

    def lookup(self, status: os.stat_result) -> str | None:
        """Return the digest that is remembered for a file of this status."""
        place = (status.st_dev, status.st_ino)
        known = self._known.get(place)
        if known is None:
            known = self._read(place)
        if known is not None and known[:3] == _version(status):
            return known[3]
        return None

    def _record(self, status: os.stat_result, digest: str) -> None:
        place = (status.st_dev, status.st_ino)
        with self._lock:
            row = (*_version(status), digest)
            self._known[place] = self._pending[place] = row
            enough = sum(each[0] for each in self._pending.values()) >= _FLUSH_BYTES
        if enough:
            self.flush()

    def flush(self) -> None:
        """Write what was recorded since the last time."""
        with self._lock:
            worth = sum(each[0] for each in self._pending.values()) >= _WORTH_BYTES
            if not self._pending or not self._is_open(make_directory=worth):
                return
            rows = [(f"{d}:{i}", *row) for (d, i), row in self._pending.items()]
            self._pending.clear()
            if self._is_read_only:
                return
            with self._quietly() as connection:
                self._is_read_only = True  # unless the next lines get through
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", rows)
                connection.execute("COMMIT")
                self._is_read_only = False

    def close(self) -> None:
        """Write what is pending and let go of the file."""
        self.flush()
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None and self._connected_in == os.getpid():
                connection.close()

    def __del__(self) -> None:
        if self._connection is not None and self._connected_in == os.getpid():
            self._connection.close()

    def _read(self, place: tuple[int, int]) -> tuple[int, int, int, str] | None:
        found: list[tuple[int, int, int, str]] = []
        with self._lock:
            if self._is_open():
                with self._quietly() as connection:
                    found = connection.execute(
                        "SELECT size, mtime_ns, ctime_ns, digest FROM files WHERE place = ?",
                        (f"{place[0]}:{place[1]}",),
                    ).fetchall()
        for row in found:
            if len(str(row[3])) == 64:
                self._known[place] = row
                return row
        return None

    def _is_open(self, make_directory: bool = False) -> bool:
        """Return whether there is a connection of this process, after trying to make one."""
        if self._connection is not None and self._connected_in == os.getpid():
            return True
        self._connection = None  # a fork must not use its parent's
        if self._path is None:
            return False
        if not self._path.parent.is_dir():
            if not make_directory:
                return False
            with suppress(OSError):
                self._path.parent.mkdir(parents=True, exist_ok=True)
        import sqlite3

        try:
            self._connection, self._connected_in = (
                sqlite3.connect(
                    self._path, timeout=1.0, isolation_level=None, check_same_thread=False
                ),
                os.getpid(),
            )
        except sqlite3.Error:
            self._path = None
            return False
        with self._quietly() as connection:
            # No fsync: losing rows in a power cut costs a few hashes.
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS files (place TEXT PRIMARY KEY, size INTEGER NOT NULL,"
                " mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, digest TEXT NOT NULL)"
                " WITHOUT ROWID"
            )
        return self._connection is not None

    @contextmanager
    def _quietly(self) -> Iterator[sqlite3.Connection]:
        """Go on without the file where SQLite cannot use it; start a garbled one anew."""
        import sqlite3

        connection, path = self._connection, self._path
        assert connection is not None and path is not None
        try:
            yield connection
        except sqlite3.Error as error:
            if connection.in_transaction:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
            if "readonly" in str(error):
                return
            with suppress(sqlite3.Error):
                connection.close()
            self._connection = None
            if type(error) is sqlite3.DatabaseError:  # "not a database", "malformed"
                with suppress(OSError):
                    # The journal first: a later memo must not take it for its own.
                    path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
                    path.unlink(missing_ok=True)
            else:
                self._path = None


def changed_while_read(file: str) -> ArtifactError:
    """Return the error for a file that someone writes while it is hashed."""
    return ArtifactError(
        f"{quoted(file)} changed while it was read",
        code="ART165",
        at=quoted(file),
        why="a digest of half old and half new content would fit neither",
        fix="wait until whatever writes it is done, then run again",
    )


def _status(file: str | os.PathLike[str]) -> os.stat_result:
    try:
        return os.stat(file)  # noqa: PTH116 - called for every file of a model on every plan
    except OSError as error:
        raise explain(error, "read", file) from error


def _version(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, *_version(status)
