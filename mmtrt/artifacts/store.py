"""The store: artifacts by kind and key, whole or not at all.

Finding is cheap and changes nothing; it works on a read-only store. What takes longer (hashing,
verifying, accounting) is imported when it is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmtrt.artifacts import layout
from mmtrt.artifacts.atomic import remove_tree
from mmtrt.artifacts.faults import explained, quoted
from mmtrt.artifacts.layout import Logs
from mmtrt.artifacts.locks import Hold, KeyLock, remove_if_free, take
from mmtrt.artifacts.lookup import Artifact, Damaged, Hit, Lookup, Miss, look_up, open_artifact
from mmtrt.artifacts.manifest import now_utc, presentable, tree_digest
from mmtrt.artifacts.staging import (
    Staging,
    discard_aside,
    move_aside,
    rename_new,
    write_json,
)
from mmtrt.artifacts.staging import sweep as sweep_staging
from mmtrt.errors import ArtifactError
from mmtrt.redaction import of_environment

if TYPE_CHECKING:
    from mmtrt.artifacts.digest import DigestMemo
    from mmtrt.artifacts.manifest import FileEntry
    from mmtrt.artifacts.usage import Removal, Usage
    from mmtrt.artifacts.verify import Problem

__all__ = [
    "Artifact",
    "Damaged",
    "Hit",
    "KeyLock",
    "Logs",
    "Lookup",
    "Miss",
    "Staging",
    "Store",
]


class Store:
    """A directory of artifacts, shared by processes, and by hosts where the file system is.

    A process may be killed at any instant: what it was making never counts, and its locks and
    staging directories free themselves.
    """

    def __init__(self, root: Path) -> None:
        """Use the directory ``root``; it is made when something is first written."""
        self.root = Path(os.path.abspath(root))  # noqa: PTH100 - links in the path stay as given
        self._base = os.fspath(self.root)
        self._memo: DigestMemo | None = None

    @property
    def memo(self) -> DigestMemo:
        """The digests of files that were hashed before."""
        if self._memo is None:
            from mmtrt.artifacts.digest import DigestMemo

            self._memo = DigestMemo(self.root / layout.MEMO)
        return self._memo

    @property
    def side(self) -> Path:
        """Directory of files that tools keep from build to build; they may be deleted any time."""
        return self.root / layout.SIDE

    def directory_of(self, kind: str, key: str) -> Path:
        """Return where the artifact of a key is, or would be.

        Raises:
            ArtifactError: ART144.
        """
        layout.require_place(kind, key)
        return self.root / kind / key

    def find(self, kind: str, key: str) -> Lookup:
        """Look a key up: a hit has a complete manifest and every file as recorded.

        Files are compared by size and time, which takes microseconds; ``verify`` compares contents.
        So does this where only a time differs, as in a store that was copied without times; the
        time is then set back to the recorded one, so that it is done once.

        Raises:
            ArtifactError: ART140, if a newer mmtrt wrote the artifact; ART144, if kind or key is
                none; ART15x, if the store cannot be read.
        """
        layout.require_place(kind, key)
        return look_up(f"{self._base}/{kind}/{key}", kind, key, self._is_same)

    def _is_same(self, location: str, entry: FileEntry) -> bool:
        """Compare a file's content with its record; if it is the same, correct the time."""
        status, digest = self.memo.measure(location)
        self.memo.flush()
        if digest != entry.digest:
            return False
        real = os.path.realpath(location)
        if real.startswith(f"{os.path.realpath(self._base)}/"):  # else it is the user's
            with suppress(OSError):  # a read-only store: the memo remembers
                os.utime(real, ns=(status.st_atime_ns, entry.mtime_ns))
        return True

    def local_digest(
        self, path: Path, include: Sequence[str] = (), exclude: Sequence[str] = ()
    ) -> str:
        """Return the digest of a file or directory of the user's, as ``tree_digest`` would.

        Args:
            path: a file or directory; symbolic links are followed.
            include: glob patterns of the relative paths that count, empty for all; ``*`` also
                crosses ``/``, and ``name/`` stands for everything below a directory.
            exclude: of those, patterns of what does not count.

        Raises:
            ArtifactError: ART142, if no file counts; ART16x, for links to nowhere, pipes and the
                like; ART15x, if it cannot be read.
        """
        from mmtrt.artifacts.digest import digest_tree
        from mmtrt.artifacts.selection import selector

        entries = digest_tree(path, self.memo, selector(include, exclude))
        if not entries:
            raise ArtifactError(
                f"no file of {quoted(os.fspath(path))} counts",
                code="ART142",
                at=quoted(os.fspath(path)),
                why="the patterns leave nothing of it" if include or exclude else "it is empty",
                fix="correct the path or the patterns",
            )
        return tree_digest(entries.values())

    def lock(self, kind: str, key: str) -> KeyLock:
        """Return the lock to hold while a key is built, not yet acquired.

        Raises:
            ArtifactError: ART144.
        """
        layout.require_place(kind, key)
        return KeyLock(self.root / layout.LOCKS / layout.lock_name(kind, key))

    def open_staging(
        self, kind: str, key: str, name: str, command: Mapping[str, Any] | None = None
    ) -> Staging:
        """Make a directory for a command to write its output to.

        Args:
            kind: kind of the stage.
            key: key of the output.
            name: name of the model, which becomes the output directory's.
            command: written beside the logs, for those who look into a failure.

        Raises:
            ArtifactError: ART144, for a name that cannot be one; ART15x, if the store cannot be
                written.
        """
        layout.require_place(kind, key)
        layout.require_name(name)
        with explained("make a directory in", self.root):
            staging = Staging(self.root, kind, key, name)
        if command is not None:
            try:
                staging.write_command(command)
            except BaseException:
                staging.discard()
                raise
        return staging

    def publish(
        self,
        staging: Staging,
        *,
        key_document: dict[str, Any],
        command: Mapping[str, Any],
        host: Mapping[str, Any],
        seconds: float,
        backend: str,
        stage: str,
        peak_rss_bytes: int | None = None,
        fake: bool = False,
        created: str | None = None,
        replaces: bool = False,
        made: Mapping[str, Any] | None = None,
        inputs: Sequence[Artifact] = (),
    ) -> Artifact:
        """Make a finished staging directory the artifact of its key.

        Files are hashed, made read-only and synced, the manifest is written last, and one rename
        puts all in place. An intact artifact that has the key already wins, and the staging
        directory is dropped; a damaged one is replaced. If this fails, the staging directory stays
        open: abandon it.

        Args:
            staging: as the command left it; nobody writes to it any more. What lies beside the
                output directory and the logs is deleted.
            key_document: what the key is the hash of.
            command: as rendered, for people.
            host: where it ran, for people.
            seconds: how long the command took.
            backend: name of the toolchain.
            stage: id of the stage in its recipe.
            peak_rss_bytes: most memory that the command held.
            fake: whether the output only pretends to be one.
            created: UTC in ISO 8601; default now.
            replaces: an intact artifact of the key gives way, too (a forced run).
            made: see ``Manifest.made``.
            inputs: artifacts whose files may be linked in the output; those are not hashed again.

        Raises:
            ArtifactError: ART144, if the key is not that of the document; ART160 to ART165, for an
                output that cannot be kept; ART150 to ART154, if the disk is full or the like;
                ART166, if the staging directory is gone.
        """
        from mmtrt.artifacts.publish import publish

        return publish(
            self.root,
            staging,
            self.memo,
            replaces,
            inputs,
            stage=stage,
            key_document=key_document,
            command=of_environment().tree(presentable(dict(command))),
            host=presentable(dict(host)),
            created=created or now_utc(),
            seconds=float(seconds),
            peak_rss_bytes=peak_rss_bytes,
            backend=backend,
            fake=fake,
            made=presentable(dict(made or {})),
        )

    def abandon(self, staging: Staging, keep_logs: Mapping[str, Any] | None = None) -> Path | None:
        """Give a staging directory up; does nothing if it was published or abandoned before.

        Args:
            staging: of an attempt that failed.
            keep_logs: how the command ended, written to ``exit.json`` beside the logs, which are
                kept until the next failure of the same key; ``None`` keeps nothing.

        Returns:
            The directory of the logs; ``None`` if they are not kept, be it for a full disk.
        """
        if not staging.is_open:
            return None
        if keep_logs is None:
            staging.discard()
            return None
        kept = self.root / layout.FAILED / layout.short_name(staging.kind, staging.key)
        try:
            staging.clear(keep=layout.LOGS)
            write_json(staging.directory / layout.EXIT, keep_logs)
            kept.parent.mkdir(exist_ok=True)
            while not rename_new(staging.directory, kept):
                discard_aside(move_aside(self.root, kept))
        except (OSError, ArtifactError):  # the failure itself is what the user must see
            staging.discard()
            return None
        staging.moved_to(kept)
        return kept

    def failure(self, kind: str, key: str) -> Logs | None:
        """Return the logs of the latest failed attempt at a key.

        Raises:
            ArtifactError: ART144.
        """
        layout.require_place(kind, key)
        logs = Logs(self.root / layout.FAILED / layout.short_name(kind, key))
        return logs if logs.directory.is_dir() else None

    def artifacts(
        self, kind: str | None = None, report: Callable[[Path, str], None] | None = None
    ) -> Iterator[Artifact]:
        """Yield every artifact with a readable manifest, sorted; files are not looked at.

        Args:
            kind: only this kind.
            report: called with the place of what cannot be read and the reason; by default that
                goes to the log of this module as a warning.
        """
        for directory in self.directories(kind):
            try:
                yield self.open(directory)
            except ArtifactError as error:
                (report or _log)(directory, error.why or error.message)

    def newest(self, kind: str, name: str | None = None) -> Iterator[Artifact]:
        """Yield the readable artifacts of a kind, newest first.

        Args:
            kind: kind of the stage.
            name: only those of this model.
        """
        dated = []
        for directory in self.directories(kind):
            with suppress(OSError):
                if name is None or (directory / name).exists():
                    dated.append(((directory / layout.MANIFEST).stat().st_mtime_ns, directory))
        for _, directory in sorted(dated, reverse=True):
            with suppress(ArtifactError):
                artifact = self.open(directory)
                if name in (None, artifact.manifest.name):
                    yield artifact

    def directories(self, kind: str | None = None) -> Iterator[Path]:
        """Yield the directory of every artifact, readable or not, sorted."""
        for place in [self.root / kind] if kind is not None else layout.listed(self.root):
            if layout.is_kind(place.name):
                yield from (each for each in layout.listed(place) if layout.is_key(each.name))

    def open(self, directory: Path) -> Artifact:
        """Read the artifact in a directory of this store; its files are not looked at.

        Raises:
            ArtifactError: ART140, ART153 or ART154, if it cannot be read.
            ArtifactCorrupt: ART141, if there is no manifest, or not its own.
        """
        return open_artifact(directory)

    def mark_used(self, artifact: Artifact) -> None:
        """Note that a run takes the artifact, so that ``gc`` keeps it longer; never fails."""
        used = f"{artifact.directory}/{layout.USED}"
        try:
            os.utime(used)
        except FileNotFoundError:
            with suppress(OSError):
                os.close(os.open(used, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666))
        except OSError:
            pass  # a read-only store

    def pin(self, artifact: Artifact) -> Hold:
        """Keep ``gc`` and ``remove`` off an artifact until ``let_go``, or until this process ends.

        Raises:
            ArtifactError: ART167, if it is being removed right now; ART15x.
        """
        with explained("use", artifact.directory):
            try:
                hold = take(artifact.directory / layout.MANIFEST, shared=True, create=False)
            except FileNotFoundError:
                hold = None
        if hold is None:
            raise _busy(artifact.directory, "it is being removed", "run again")
        return hold

    def remove(self, artifact: Artifact) -> None:
        """Take an artifact out of the store in one step, then delete its files.

        Raises:
            ArtifactError: ART167, if somebody pinned it; ART15x.
        """
        self.remove_directory(artifact.directory)

    def remove_directory(self, directory: Path) -> None:
        """Remove an artifact that may be unreadable; otherwise as :meth:`remove`.

        Raises:
            ArtifactError: ART167, if somebody pinned it; ART15x.
        """
        with explained("remove", directory):
            aside = self._take_out(directory, layout.STAGING)
            if aside is not None:
                remove_tree(aside)

    def set_aside(self, directory: Path) -> Path | None:
        """Move a damaged artifact to where only ``gc`` looks, so that the next run makes it anew.

        Returns:
            Where it lies now; ``None`` if it is gone.

        Raises:
            ArtifactError: ART167, if a run uses it; ART15x.
        """
        with explained("set aside", directory):
            return self._take_out(directory, layout.DAMAGED)

    def _take_out(self, directory: Path, area: str) -> Path | None:
        try:
            hold = take(directory / layout.MANIFEST, create=False)
        except (FileNotFoundError, NotADirectoryError):
            return move_aside(self.root, directory, area)  # nobody can pin what has no manifest
        if hold is None:
            raise _busy(directory, "a run uses it", "try again when it is done")
        with hold:
            return move_aside(self.root, directory, area)

    def sweep(self) -> list[Path]:
        """Delete the staging directories and lock files of dead processes; never fails.

        Returns:
            What was deleted.
        """
        removed = sweep_staging(self.root)
        for path in layout.listed(self.root / layout.LOCKS):
            with suppress(OSError):
                if layout.is_lock_name(path.name) and remove_if_free(path):
                    removed.append(path)
        return removed

    def du(self) -> list[Usage]:
        """Return the disk space of every artifact and leftover; see ``usage.Usage``."""
        from mmtrt.artifacts.usage import measure

        return measure(self)

    def gc(
        self,
        keep: set[tuple[str, str]] | frozenset[tuple[str, str]] = frozenset(),
        older_than_s: float | None = None,
        budget_bytes: int | None = None,
        dry_run: bool = False,
    ) -> list[Removal]:
        """Remove artifacts, least recently used first; see ``usage.collect``.

        Raises:
            ArtifactError: ART15x, if the store cannot be written.
        """
        from mmtrt.artifacts.usage import collect

        return collect(self, frozenset(keep), older_than_s, budget_bytes, dry_run)

    def verify(self, kind: str | None = None, jobs: int | None = None) -> Iterator[Problem]:
        """Hash everything again and yield what is not as recorded; see ``verify.verify``."""
        from mmtrt.artifacts.verify import verify

        return verify(self, kind, jobs)


def _busy(directory: Path, why: str, fix: str) -> ArtifactError:
    return ArtifactError(
        f"{quoted(str(directory))} is in use",
        code="ART167",
        at=quoted(str(directory)),
        why=why,
        fix=fix,
    )


def _log(place: Path, why: str) -> None:
    import logging

    logging.getLogger(__name__).warning("%s is left out: %s", quoted(str(place)), why)
