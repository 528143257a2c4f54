"""Lists the files below a directory, through symbolic links, and refuses what is no file."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field

from mmtrt.artifacts.faults import explained, quoted
from mmtrt.errors import ArtifactError


@dataclass(frozen=True, slots=True)
class Leaf:
    """A regular file, or a link to one."""

    path: str
    """Relative to the root; empty where the root itself is the file."""
    location: str
    stat: os.stat_result
    """Of the file that a link leads to."""
    is_linked: bool
    """Whether a symbolic link was followed on the way from the root."""


@dataclass(slots=True)
class Tree:
    """What lies below a root."""

    files: list[Leaf] = field(default_factory=list)
    """Sorted by relative path."""
    directories: list[str] = field(default_factory=list)
    """Real directories with the root, outer before inner."""
    links: list[str] = field(default_factory=list)
    """Symbolic links that no other link had to be followed for."""


Ancestors = frozenset[tuple[int, int]]


def scan(root: str, wants: Callable[[str], bool] | None = None) -> Tree:
    """List a directory's files, or the file itself.

    Args:
        root: a directory or a file.
        wants: tells by its relative path whether a file counts; links that lead nowhere and odd
            files do no harm where they do not count.

    Raises:
        ArtifactError: ART160, for a link that leads nowhere or in a circle; ART162, for a socket,
            pipe or device; ART163, for a name that is not UTF-8; ART15x, for what cannot be read.
    """
    tree = Tree()
    with explained("read", root):
        is_linked = os.path.islink(root)  # noqa: PTH114 - one style with the loop below
        status = _stat(root, is_linked)
        if is_linked:
            tree.links.append(root)
        if not stat.S_ISDIR(status.st_mode):
            _require_regular(root, status)
            tree.files.append(Leaf("", root, status, is_linked))
            return tree
        # A stack instead of recursion: models are flat, node_modules are not.
        waiting: list[tuple[str, str, bool, Ancestors]] = [(root, "", is_linked, frozenset())]
        while waiting:
            waiting += _scan_directory(*waiting.pop(), tree, wants)
    tree.files.sort(key=lambda leaf: leaf.path)
    return tree


def _scan_directory(
    location: str,
    prefix: str,
    is_linked: bool,
    above: Ancestors,
    tree: Tree,
    wants: Callable[[str], bool] | None,
) -> list[tuple[str, str, bool, Ancestors]]:
    """Add a directory's files to the tree and return the directories in it."""
    status = os.stat(location)  # noqa: PTH116 - strings throughout, for speed
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        raise _bad_link(location, "it leads to a directory that holds it")
    if not is_linked:
        tree.directories.append(location)
    inner = []
    with os.scandir(location) as entries:
        for entry in entries:
            path = f"{prefix}{entry.name}"
            is_link = entry.is_symlink()
            is_directory = _is_directory(entry)
            if not is_directory and wants is not None and not wants(path):
                continue
            _require_utf8(entry.path, entry.name)
            if is_link and not is_linked:
                tree.links.append(entry.path)
            if is_directory:
                inner.append((entry.path, f"{path}/", is_linked or is_link, above | {identity}))
                continue
            status = _stat(entry.path, is_link)
            _require_regular(entry.path, status)
            tree.files.append(Leaf(path, entry.path, status, is_linked or is_link))
    return inner


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False


def _stat(location: str, is_link: bool) -> os.stat_result:
    try:
        return os.stat(location)  # noqa: PTH116 - strings throughout, for speed
    except OSError as error:
        if is_link and error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            leads = os.readlink(location)  # noqa: PTH115 - strings throughout, for speed
            raise _bad_link(location, f"{quoted(leads)} does not exist") from error
        raise


def _bad_link(location: str, why: str) -> ArtifactError:
    return ArtifactError(
        f"the symbolic link {quoted(location)} cannot be followed",
        code="ART160",
        at=quoted(location),
        why=why,
        fix="bring back what it leads to, or remove the link",
    )


def _require_regular(location: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ArtifactError(
            f"{quoted(location)} is neither a file nor a directory",
            code="ART162",
            at=quoted(location),
            why="sockets, pipes and devices have no content that could be kept",
            fix="remove it",
        )


def _require_utf8(location: str, name: str) -> None:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise ArtifactError(
            f"the name of {quoted(location)} is not UTF-8",
            code="ART163",
            at=quoted(location),
            why="a manifest could not write it in a way that every program reads alike",
            fix="rename the file",
        ) from None
