"""How much disk each artifact takes, and which of them to give up.

Files that are linked into several artifacts take their space once, and give it back with the last.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mmtrt.artifacts import layout, staging
from mmtrt.artifacts.atomic import remove_tree
from mmtrt.artifacts.store import Damaged, Hit, Store
from mmtrt.errors import ArtifactError


@dataclass(frozen=True, slots=True)
class Usage:
    """The disk space of an artifact, or of something left beside them."""

    kind: str
    """``.staging``, ``.failed`` or ``.damaged`` for what is none; ``key`` is its name there."""
    key: str
    name: str
    """The model's; empty where it cannot be read."""
    path: Path
    size_bytes: int
    """Disk space of its files, each once."""
    added_bytes: int
    """Of that, what no earlier row has: over all rows this adds up to the whole store."""
    frees_bytes: int
    """What removing this alone gives back: files without a link anywhere else."""
    used_s: float
    """When a run last took it or made it, seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Removal:
    """What ``gc`` did, or would do, with an artifact that had to go."""

    kind: str
    key: str
    name: str
    path: Path
    size_bytes: int
    freed_bytes: int
    """What that gives back, given the removals before it."""
    used_s: float
    action: Literal["removed", "would remove", "kept"]
    reason: str
    """Why it had to go, or why it stays although it had to."""


@dataclass(slots=True)
class _Inode:
    """A file on the disk, under however many names."""

    size_bytes: int
    elsewhere: int
    """Links that no place of this inventory has."""
    places: set[Path] = field(default_factory=set)


@dataclass(slots=True)
class _Place:
    """A directory of the store with the inodes below it."""

    kind: str
    key: str
    path: Path
    name: str
    used_s: float
    inodes: list[_Inode]

    @property
    def size_bytes(self) -> int:
        return sum(inode.size_bytes for inode in self.inodes)

    def frees_bytes(self) -> int:
        return sum(
            inode.size_bytes
            for inode in self.inodes
            if not inode.elsewhere and inode.places == {self.path}
        )


def measure(store: Store) -> list[Usage]:
    """Return the disk space of every artifact, then that of leftovers and logs of failures."""
    rows: list[Usage] = []
    counted: set[int] = set()
    for place in _inventory(store):
        new = [inode for inode in place.inodes if id(inode) not in counted]
        counted.update(map(id, new))
        rows.append(
            Usage(
                place.kind,
                place.key,
                place.name,
                place.path,
                place.size_bytes,
                sum(inode.size_bytes for inode in new),
                place.frees_bytes(),
                place.used_s,
            )
        )
    return rows


def collect(
    store: Store,
    keep: frozenset[tuple[str, str]],
    older_than_s: float | None,
    budget_bytes: int | None,
    dry_run: bool,
) -> list[Removal]:
    """Remove artifacts that are not to be kept, least recently used first.

    Damaged ones go in any case. Of the others go those not used for ``older_than_s`` seconds, and
    then as many as it takes for all artifacts together to fit ``budget_bytes``. Without either
    limit all go. What dead processes left goes, too, and with ``older_than_s`` the logs of older
    failures. An artifact that is being built, or is pinned by a process that reads it, stays.

    Args:
        store: the store.
        keep: (kind, key) of artifacts that stay whatever their age and size.
        older_than_s: age at which an artifact goes.
        budget_bytes: disk space that all artifacts together may take.
        dry_run: only tell.

    Raises:
        ArtifactError: ART15x, if the store cannot be written.
    """
    now = time.time()
    places = _inventory(store)
    rows = []
    artifacts = []
    for place in places:
        if not place.kind.startswith("."):
            artifacts.append(place)
        elif reason := _why_leftover_goes(store, place, now, older_than_s):
            rows.append(_remove_leftover(place, reason, dry_run))
    total = sum({id(i): i.size_bytes for place in artifacts for i in place.inodes}.values())
    damaged = {place.path for place in artifacts if _is_damaged(store, place)}
    artifacts.sort(key=lambda place: (place.path not in damaged, place.used_s, place.path))
    for place in artifacts:
        if (place.kind, place.key) in keep:
            continue
        if place.path in damaged:
            reason = "damaged"
        elif older_than_s is not None and now - place.used_s >= older_than_s:
            reason = f"not used for {_age(now - place.used_s)}"
        elif budget_bytes is not None and total > budget_bytes:
            reason = "the store is over its budget"
        elif older_than_s is None and budget_bytes is None:
            reason = "not to be kept"
        else:
            continue
        row = _remove(store, place, reason, dry_run)
        rows.append(row)
        if row.action != "kept":
            for inode in place.inodes:
                inode.places.discard(place.path)
                total -= 0 if inode.places else inode.size_bytes
    return rows


def _inventory(store: Store) -> list[_Place]:
    known: dict[tuple[int, int], _Inode] = {}
    directories = [(each.parent.name, each) for each in store.directories()]
    for name in (layout.STAGING, layout.FAILED, layout.DAMAGED):
        directories += [(name, each) for each in layout.listed(store.root / name)]
    places = []
    for kind, path in directories:
        inodes: dict[int, _Inode] = {}
        for status in _statuses(path):
            inode = known.setdefault(
                (status.st_dev, status.st_ino), _Inode(status.st_blocks * 512, status.st_nlink)
            )
            inode.elsewhere -= 1
            inode.places.add(path)
            inodes[id(inode)] = inode
        name = "" if kind.startswith(".") else _name(path)
        places.append(_Place(kind, path.name, path, name, _used_s(path), [*inodes.values()]))
    return places


def _statuses(path: Path) -> Iterator[os.stat_result]:
    """Yield the status of everything below a directory that is no directory, links as links."""
    for folder, directories, files in os.walk(path):
        for name in (*files, *directories):
            try:
                status = Path(folder, name).lstat()
            except OSError:
                continue  # removed meanwhile
            if not stat.S_ISDIR(status.st_mode):
                yield status


def _name(path: Path) -> str:
    beside = {layout.USED, layout.ALIVE, *layout.RESERVED}
    try:
        names = [entry.name for entry in path.iterdir() if entry.name not in beside]
    except OSError:
        return ""
    return names[0] if len(names) == 1 else ""


def _used_s(path: Path) -> float:
    times = []
    for place in (path / layout.USED, path / layout.MANIFEST):
        try:
            times.append(place.stat().st_mtime)
        except OSError:
            continue
    try:
        return max(times) if times else path.stat().st_mtime
    except OSError:
        return 0.0


def _is_damaged(store: Store, place: _Place) -> bool:
    try:
        return isinstance(store.find(place.kind, place.key), Damaged)
    except ArtifactError:
        return False  # a newer mmtrt's, or not ours to read


def _remove(store: Store, place: _Place, reason: str, dry_run: bool) -> Removal:
    freed = place.frees_bytes()
    if dry_run:
        return _row(place, freed, "would remove", reason)
    lock = store.lock(place.kind, place.key)
    if not lock.try_acquire():
        return _row(place, 0, "kept", "it is being built")
    try:
        if _used_s(place.path) > place.used_s and isinstance(
            store.find(place.kind, place.key), Hit
        ):
            return _row(place, 0, "kept", "a run took it just now")
        store.remove_directory(place.path)
    except ArtifactError as error:
        if error.code != "ART167":
            raise
        return _row(place, 0, "kept", "a process reads it")
    finally:
        lock.release()
    return _row(place, freed, "removed", reason)


def _why_leftover_goes(
    store: Store, place: _Place, now: float, older_than_s: float | None
) -> str | None:
    if place.kind == layout.STAGING:
        is_dead = place.path in set(staging.dead(store.root))
        return "left by a process that died" if is_dead else None
    if place.kind == layout.DAMAGED:
        return "damaged"
    if older_than_s is not None and now - place.used_s >= older_than_s:
        return f"logs of a failure {_age(now - place.used_s)} ago"
    return None


def _remove_leftover(place: _Place, reason: str, dry_run: bool) -> Removal:
    if dry_run:
        return _row(place, place.size_bytes, "would remove", reason)
    if place.kind == layout.STAGING:
        is_gone = staging.reap(place.path)
    else:
        try:
            remove_tree(place.path)
            is_gone = True
        except OSError:
            is_gone = False
    if is_gone:
        return _row(place, place.size_bytes, "removed", reason)
    return _row(place, 0, "kept", "it cannot be deleted")


def _row(
    place: _Place, freed: int, action: Literal["removed", "would remove", "kept"], reason: str
) -> Removal:
    return Removal(
        place.kind,
        place.key,
        place.name,
        place.path,
        place.size_bytes,
        freed,
        place.used_s,
        action,
        reason,
    )


def _age(seconds: float) -> str:
    if seconds >= 172800:
        return f"{seconds / 86400:.0f} days"
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds:.0f} seconds"
