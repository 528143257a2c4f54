"""Turns the operating system's refusals into errors with a reason and a fix."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmtrt.errors import ArtifactError

_ELSEWHERE = "set paths.store to a directory on another disk"
_ROOMIER = f"free some space (mmtrt cache gc), or {_ELSEWHERE}"

_KNOWN: dict[int, tuple[str, str | None, str | None]] = {
    errno.ENOSPC: ("ART150", "the disk is full", _ROOMIER),
    errno.EDQUOT: ("ART150", "the disk quota of this user is used up", _ROOMIER),
    errno.EFBIG: (
        "ART151",
        "the file would exceed the size limit of this process or of the file system",
        f"raise the limit (ulimit -f unlimited), or {_ELSEWHERE}",
    ),
    errno.EROFS: (
        "ART152",
        "the file system is read-only; what is stored there can be used, not added to",
        "set paths.store to a directory that can be written",
    ),
    errno.EACCES: (
        "ART153",
        "this user may not do that there",
        "correct the owner or mode of the directory, or set paths.store to one of your own",
    ),
    errno.EPERM: (
        "ART153",
        "this user may not do that there",
        "correct the owner or flags of the file, or set paths.store to a directory of your own",
    ),
    errno.EXDEV: (
        "ART154",
        "moving into place is one step only within a file system",
        "keep the whole store on one disk: no mounts or links to other disks inside it",
    ),
    errno.ENOLCK: ("ART155", "the file system has no file locks", _ELSEWHERE),
    errno.ENOTSUP: ("ART155", "the file system cannot do that", _ELSEWHERE),
}

_OTHER: tuple[str, str | None, str | None] = ("ART154", None, None)


def explain(error: OSError, doing: str, path: str | os.PathLike[str]) -> ArtifactError:
    """Return the error to raise ``from error``.

    Args:
        error: what the operating system said.
        doing: the verb of the sentence "cannot <doing> <path>".
        path: what it was done to, used where the error names no file.
    """
    place = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else path
    text = error.strerror or str(error)
    code, why, fix = _KNOWN.get(error.errno or 0, _OTHER)
    if error.errno == errno.ENOSPC:
        why = _free_space(os.fspath(place)) or why
    return ArtifactError(
        f"cannot {doing} {quoted(os.fspath(path))}: {text}",
        code=code,
        at=quoted(os.fspath(place)),
        why=why,
        fix=fix,
    )


@contextmanager
def explained(doing: str, path: str | os.PathLike[str]) -> Iterator[None]:
    """Raise what the operating system refuses inside the block as :func:`explain` tells it."""
    try:
        yield
    except OSError as error:
        raise explain(error, doing, path) from error


def quoted(text: str) -> str:
    """Return a path or name for a message: newlines and odd bytes escaped, so it stays one line."""
    if text.isprintable():
        return text
    return text.encode("unicode_escape").decode("ascii")


def _free_space(path: str) -> str | None:
    place = Path(path)
    for directory in (place, *place.parents):
        try:
            free = os.statvfs(directory)
        except OSError:
            continue
        gib = free.f_bavail * free.f_frsize / 2**30
        inodes = ", and no free inode" if free.f_files and not free.f_favail else ""
        return f"the disk of {quoted(str(directory))} has {gib:.2f} GiB left{inodes}"
    return None
