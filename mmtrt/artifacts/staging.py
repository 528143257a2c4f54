"""Directories in which artifacts are made, and what becomes of those whose maker died."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from mmtrt.artifacts import layout
from mmtrt.artifacts.atomic import remove_tree, write_text
from mmtrt.artifacts.faults import quoted
from mmtrt.artifacts.locks import Hold, is_free, take
from mmtrt.artifacts.manifest import presentable
from mmtrt.errors import ArtifactError
from mmtrt.redaction import of_environment


class Staging:
    """A directory that is being filled; its lock tells others that its maker lives.

    Use it as a context manager: what was neither published nor abandoned at the end is deleted.
    """

    def __init__(self, root: Path, kind: str, key: str, name: str) -> None:
        """Make the directory below the store's ``root``; see ``Store.open_staging``."""
        self.kind, self.key, self.name = kind, key, name
        self.root = root
        self.directory, self._hold = _make(root, layout.short_name(kind, key))
        self.path = self.directory / name
        """The output directory that the command fills."""
        try:
            self.path.mkdir()
        except BaseException:
            self.discard()
            raise

    @property
    def is_open(self) -> bool:
        """Whether it is still to be published or abandoned, by this process."""
        return self._hold.is_alive

    @property
    def command(self) -> Path:
        """Where the rendered command is written."""
        return self.directory / layout.COMMAND

    @property
    def stdout(self) -> Path:
        """Where the command's standard output goes."""
        return self.directory / layout.STDOUT

    @property
    def stderr(self) -> Path:
        """Where the command's standard error goes."""
        return self.directory / layout.STDERR

    @property
    def manifest(self) -> Path:
        """Where the manifest is written."""
        return self.directory / layout.MANIFEST

    def fileno(self) -> int:
        """Return the descriptor of the lock.

        Passed on to the command (``pass_fds``), the directory stays until the command is dead, too,
        even where mmtrt was killed before.
        """
        return self._hold.descriptor

    def write_command(self, command: Mapping[str, Any]) -> None:
        """Write the command down, so that the logs of a failure say what was run.

        Raises:
            ArtifactError: ART15x.
        """
        write_json(self.command, command)

    def require_open(self) -> None:
        """Refuse to use a directory that is gone.

        Raises:
            ArtifactError: ART166.
        """
        if not self.is_open:
            raise ArtifactError(
                f"{quoted(str(self.directory))} was published or abandoned already",
                code="ART166",
                fix="open a new staging directory for every attempt",
            )

    def clear(self, keep: frozenset[str]) -> None:
        """Delete everything but the named entries and the lock.

        Raises:
            OSError: as the operating system says it.
        """
        for entry in list(self.directory.iterdir()):
            if entry.name not in keep and entry.name != layout.ALIVE:
                remove_tree(entry)

    def moved_to(self, place: Path) -> None:
        """Let go of the directory, which lies at ``place`` now."""
        with suppress(OSError):
            (place / layout.ALIVE).unlink(missing_ok=True)
        self._hold.let_go()

    def discard(self) -> None:
        """Delete the directory; what cannot be deleted is left for a sweep."""
        if self.is_open:
            with suppress(OSError):
                remove_tree(self.directory)
            self._hold.let_go()

    def __enter__(self) -> Staging:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.discard()


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write an informational file; it is not synced, since nothing depends on it."""
    shown = of_environment().tree(presentable(dict(document)))
    text = json.dumps(shown, indent=1, sort_keys=True, ensure_ascii=False)
    write_text(path, f"{text}\n", sync=False)


def fresh_name(root: Path, prefix: str, area: str = layout.STAGING) -> Path:
    """Return a path for a directory in an area of the store that does not exist yet."""
    return root / area / f"{prefix}-{os.urandom(6).hex()}"


def move_aside(root: Path, place: Path, area: str = layout.STAGING) -> Path | None:
    """Take something out of the store in one step; return where it lies, to be deleted.

    A process killed before it is deleted leaves it to the next sweep.

    Returns:
        ``None`` if nothing was there.

    Raises:
        OSError: as the operating system says it.
    """
    prefix = "gone" if area == layout.STAGING else layout.short_name(place.parent.name, place.name)
    aside = fresh_name(root, prefix, area)
    aside.parent.mkdir(parents=True, exist_ok=True)
    try:
        place.rename(aside)
    except FileNotFoundError:
        return None
    return aside


def discard_aside(aside: Path | None) -> None:
    """Delete what was moved aside; what cannot be deleted is left for a sweep."""
    if aside is not None:
        with suppress(OSError):
            remove_tree(aside)


def rename_new(directory: Path, place: Path) -> bool:
    """Rename unless something is at the new place."""
    try:
        directory.rename(place)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            return False
        raise
    return True


def dead(root: Path) -> Iterator[Path]:
    """Yield what dead processes left in the staging area, without touching it."""
    for directory in layout.listed(root / layout.STAGING):
        try:
            if is_free(directory / layout.ALIVE):
                yield directory
        except NotADirectoryError:
            yield directory
        except OSError:
            continue


def sweep(root: Path) -> list[Path]:
    """Delete what dead processes left in the staging area; return what was deleted."""
    return [directory for directory in layout.listed(root / layout.STAGING) if reap(directory)]


def reap(directory: Path) -> bool:
    """Delete a staging directory unless its maker lives; return whether it was deleted."""
    try:
        # Made here if it is missing, so that a maker that has come no further than its mkdir
        # and this process cannot both believe the directory to be theirs.
        hold = take(directory / layout.ALIVE)
    except NotADirectoryError:
        with suppress(OSError):
            directory.unlink()
            return True
        return False
    except OSError:
        return False  # gone meanwhile, another user's, or in a read-only store
    if hold is None:
        return False
    try:
        remove_tree(directory)
    except OSError:
        return False
    finally:
        hold.let_go()
    return True


def _make(root: Path, prefix: str) -> tuple[Path, Hold]:
    area = root / layout.STAGING
    area.mkdir(parents=True, exist_ok=True)
    while True:
        directory = fresh_name(root, prefix)
        directory.mkdir()
        try:
            hold = take(directory / layout.ALIVE)
        except FileNotFoundError:
            continue  # a sweep came between
        except BaseException:
            with suppress(OSError):
                remove_tree(directory)
            raise
        if hold is not None:
            return directory, hold
