"""Put the files of one directory into another without copying what can be linked.

It knows names, links and collisions; it does not know what the files mean.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path, PurePosixPath

from mmtrt.tasks.messages import TaskError, quoted

CANNOT_HARD_LINK = frozenset(
    {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
)
"""Another file system, a system that protects or lacks hard links, or too many of them."""


class Kind(Enum):
    """What a directory entry is; a link is never followed."""

    FILE = "file"
    LINK = "link"
    DIRECTORY = "directory"


class Otherwise(Enum):
    """What to do where a hard link is impossible."""

    COPY = "copy"
    SYMLINK = "symlink"


@dataclass(frozen=True)
class Entry:
    """One name below a directory."""

    name: str
    """Relative to the directory, with ``/`` between its parts."""
    path: Path
    kind: Kind


def relative_name(text: str) -> PurePosixPath:
    """Read a name that must stay below the directory it is used in.

    Raises:
        TaskError: ART104, for an absolute path, for ``..`` and for an empty name.
    """
    path = PurePosixPath(text)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in text:
        raise TaskError(
            f"`{quoted(text)}` is not a path below the directory it belongs to",
            code="ART104",
            why="a name that is empty, absolute or holds `..` could reach any file of this machine",
            fix="name the file by its path inside the model, such as `model/visual.py`",
        )
    return path


def walk(root: Path) -> Iterator[Entry]:
    """Yield everything below ``root``, directories before what is in them, links as links.

    Raises:
        TaskError: ART106, for a socket, a pipe or a device.
    """
    for folder, directories, files in os.walk(root, onerror=_raise):
        directories.sort()
        for name in sorted([*directories, *files]):
            path = Path(folder, name)
            relative = path.relative_to(root).as_posix()
            if path.is_symlink():
                yield Entry(relative, path, Kind.LINK)
            elif path.is_dir():
                yield Entry(relative, path, Kind.DIRECTORY)
            elif path.is_file():
                yield Entry(relative, path, Kind.FILE)
            else:
                raise TaskError(
                    f"`{quoted(str(path))}` is neither a file nor a directory nor a link",
                    code="ART106",
                    fix="remove it: sockets, pipes and devices are no part of a model",
                )


def place(entry: Entry, target: Path, root: Path, otherwise: Otherwise) -> None:
    """Make ``target`` the same as ``entry``, which lies below ``root``.

    Raises:
        TaskError: ART101, if something else is at ``target``; ART106, if a link leads nowhere.
    """
    if entry.kind is Kind.DIRECTORY:
        target.mkdir(parents=True, exist_ok=True)
    elif entry.kind is Kind.LINK:
        repeat_symlink(entry.path, target, root)
    else:
        link_file(entry.path, target, otherwise)


def link_file(source: Path, target: Path, otherwise: Otherwise) -> bool:
    """Hard-link a regular file, or do the other thing where that is impossible.

    A target that is already this very file is left alone.

    Returns:
        Whether ``target`` is a hard link.

    Raises:
        TaskError: ART101, if another file is at ``target``.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.hardlink_to(source)
    except FileExistsError:
        if source.samefile(target):
            return True
        raise occupied(target) from None
    except OSError as error:
        if error.errno not in CANNOT_HARD_LINK:
            raise
    else:
        return True
    if otherwise is Otherwise.SYMLINK:
        symlink(Path(os.path.relpath(source.resolve(), target.parent.resolve())), target)
    else:
        copy_new(source, target)
    return False


def symlink(text: Path, target: Path) -> None:
    """Make ``target`` a symbolic link that reads ``text``; one that reads so already may stay.

    Raises:
        TaskError: ART101, if something else is at ``target``.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.symlink_to(text)
    except FileExistsError:
        if not target.is_symlink() or target.readlink() != text:
            raise occupied(target) from None


def repeat_symlink(source: Path, target: Path, root: Path) -> None:
    """Make ``target`` lead where ``source`` does; a relative link inside ``root`` stays as it is.

    Raises:
        TaskError: ART106, if the link leads nowhere.
    """
    text = source.readlink()
    if not source.exists():
        raise TaskError(
            f"the link `{quoted(str(source))}` leads nowhere",
            code="ART106",
            why=f"`{quoted(str(text))}` does not exist",
            fix="bring the file back, or remove the link",
        )
    leads_to = Path(os.path.normpath(source.parent / text))
    if not text.is_absolute() and not leads_to.is_relative_to(root):
        text = source.resolve()
    symlink(text, target)


def copy_new(source: Path, target: Path) -> None:
    """Copy the bytes and the permissions of a file to a name that must be free.

    Raises:
        TaskError: ART101, if something is at ``target``.
    """
    try:
        with source.open("rb") as reader, target.open("xb") as writer:
            shutil.copyfileobj(reader, writer, 1 << 20)
    except FileExistsError:
        raise occupied(target) from None
    shutil.copymode(source, target)


def occupied(target: Path) -> TaskError:
    """Say that a name in the output directory is taken."""
    return TaskError(
        f"`{quoted(str(target))}` is already there",
        code="ART101",
        why="a stage writes into a fresh directory and replaces nothing",
        fix="remove it, or name an empty --output-dir",
    )


def require_directory(path: Path, flag: str) -> Path:
    """Return the resolved directory, which must exist and hold something.

    Raises:
        TaskError: ART107.
    """
    if not path.is_dir() or not any(path.iterdir()):
        raise TaskError(
            f"the directory of {flag} is {'empty' if path.is_dir() else 'missing'}: "
            f"`{quoted(str(path))}`",
            code="ART107",
            fix="run the stage that makes it first",
        )
    return path.resolve()


def require_apart(output: Path, source: Path, flag: str) -> None:
    """Refuse an output directory that lies inside an input, which would hold itself.

    Raises:
        TaskError: ART104.
    """
    if output.resolve().is_relative_to(source):
        raise TaskError(
            f"the output directory lies inside the directory of {flag}",
            code="ART104",
            why=f"`{quoted(str(source))}` would then hold a copy of itself",
            fix="name an --output-dir elsewhere",
        )


def _raise(error: OSError) -> None:
    raise error
