"""Locks that die with the process that holds them, and clean up after themselves."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from mmtrt.artifacts.faults import explain, explained
from mmtrt.artifacts.manifest import now_utc

_POLL_S = 0.05


class Hold:
    """A locked file. The lock ends with :meth:`let_go`, or with the process, however it ends."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        """Own a descriptor that holds a flock."""
        self._descriptor: int | None = descriptor
        _holds.add(self)

    @property
    def is_alive(self) -> bool:
        """Whether the lock is held; never in a fork of its holder."""
        return self._descriptor is not None

    @property
    def descriptor(self) -> int:
        """The open file."""
        assert self._descriptor is not None, "the lock was let go"
        return self._descriptor

    def let_go(self) -> None:
        """End the lock; does nothing the second time."""
        _holds.discard(self)
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __enter__(self) -> Hold:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.let_go()


_holds: set[Hold] = set()


def _let_go_in_fork() -> None:
    # A fork shares the descriptors of its parent, and would keep the locks after its death.
    for hold in list(_holds):
        hold.let_go()


os.register_at_fork(after_in_child=_let_go_in_fork)


def take(path: Path, *, shared: bool = False, create: bool = True) -> Hold | None:
    """Lock a file, or return ``None`` if somebody else has it.

    The locked file is the one that lies at ``path`` on return: one that was deleted or replaced
    between opening and locking is given up.

    Args:
        path: the file.
        shared: allow others that ask for a shared lock, too.
        create: make the file if it is missing.

    Raises:
        OSError: if it cannot be opened (``FileNotFoundError`` without ``create``), or the file
            system has no locks.
    """
    how = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
    while True:
        descriptor = _open(path, create)
        try:
            fcntl.flock(descriptor, how)
            is_it = _is_at(path, descriptor)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        if is_it:
            return Hold(descriptor)
        os.close(descriptor)


def is_free(path: Path) -> bool:
    """Return whether nobody holds the lock of a file; a missing file is free.

    Raises:
        OSError: if it cannot be read.
    """
    try:
        hold = take(path, shared=True, create=False)
    except FileNotFoundError:
        return True
    if hold is None:
        return False
    hold.let_go()
    return True


class KeyLock:
    """The right to build one key; at most one process on all hosts that share the store has it.

    Not reentrant: a second lock object of the same key is refused in the same process, too.
    """

    def __init__(self, path: Path) -> None:
        """Stand for the lock file ``path``, which exists only while somebody holds or wants it."""
        self._path = path
        self._hold: Hold | None = None

    @property
    def is_held(self) -> bool:
        """Whether this object holds the lock."""
        return self._hold is not None and self._hold.is_alive

    def try_acquire(self) -> bool:
        """Take the lock unless somebody has it; return whether this object holds it now.

        Raises:
            ArtifactError: ART152, if the store is read-only (hits need no lock); ART153; ART155,
                if its file system has no locks.
        """
        if self.is_held:
            return True
        with explained("lock", self._path):
            try:
                self._hold = take(self._path)
            except FileNotFoundError:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._hold = take(self._path)
        if self._hold is None:
            return False
        self._sign(self._hold.descriptor)
        return True

    def acquire(self, timeout_s: float | None = None) -> bool:
        """Wait for the lock; return ``False`` once ``timeout_s`` seconds have passed in vain.

        Raises:
            ArtifactError: as :meth:`try_acquire`.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not self.try_acquire():
            if deadline is not None and time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)
        return True

    def holder(self) -> dict[str, Any] | None:
        """Return who holds the lock: ``pid``, ``host``, ``since``; ``None`` if nobody does.

        For messages only: it can be another one by the time it is read.
        """
        try:
            if is_free(self._path):
                return None
            signed = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            signed = {}
        return {"pid": None, "host": None, "since": None} | (
            signed if isinstance(signed, dict) else {}
        )

    def release(self) -> None:
        """Give the lock back; does nothing if it is not held."""
        hold, self._hold = self._hold, None
        if hold is None or not hold.is_alive:
            return
        try:
            # Deleted while locked: who opened it before finds another file at its path and retries.
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise explain(error, "unlock", self._path) from error
        finally:
            hold.let_go()

    def __enter__(self) -> KeyLock:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.release()

    def _sign(self, descriptor: int) -> None:
        holder = {"pid": os.getpid(), "host": os.uname().nodename, "since": now_utc()}
        text = json.dumps(holder).encode()
        try:
            # In this order: ext4 writes a file that was cut to nothing to the disk when it closes.
            os.pwrite(descriptor, text, 0)
            os.ftruncate(descriptor, len(text))
        except OSError:  # a full disk: the lock holds without a name on it
            pass


def remove_if_free(path: Path) -> bool:
    """Delete a lock file that nobody holds; return whether it was deleted.

    Raises:
        OSError: if it cannot be opened or deleted.
    """
    try:
        hold = take(path, create=False)
    except FileNotFoundError:
        return False
    if hold is None:
        return False
    try:
        path.unlink(missing_ok=True)
    finally:
        hold.let_go()
    return True


def _open(path: Path, create: bool) -> int:
    try:
        # For writing: some network file systems lock exclusively only what is open so.
        return os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o666)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # another user's file
        except OSError:
            raise error from None


def _is_at(path: Path, descriptor: int) -> bool:
    ours = os.fstat(descriptor)
    try:
        theirs = path.stat()
    except FileNotFoundError:
        return False
    return (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino)
