"""Reads the whole store again and tells what is not as its manifests say."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from mmtrt.artifacts import layout, staging
from mmtrt.artifacts.digest import FILE_THREADS, hash_file
from mmtrt.artifacts.faults import quoted
from mmtrt.artifacts.keys import key_of
from mmtrt.artifacts.locks import is_free
from mmtrt.artifacts.manifest import FileEntry, tree_digest
from mmtrt.artifacts.store import Artifact, Store
from mmtrt.artifacts.threads import in_threads
from mmtrt.errors import ArtifactError

_BESIDE = layout.LOGS | {layout.MANIFEST, layout.USED, layout.ALIVE}
_AT_ROOT = frozenset({layout.STAGING, layout.FAILED, layout.DAMAGED, layout.LOCKS, layout.SIDE})


Severity: TypeAlias = Literal["error", "info"]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the store that is not as it should be."""

    code: str
    path: Path
    message: str
    severity: Severity = "error"
    """``info`` for what no run can trip over, such as the remains of a dead process."""
    kind: str | None = None
    key: str | None = None


def verify(store: Store, kind: str | None = None, jobs: int | None = None) -> Iterator[Problem]:
    """Hash every file again, and compare it with what the manifests say.

    The memo is not asked; a file that is linked into several artifacts is read once. An artifact
    that is removed meanwhile is no problem.

    Args:
        store: the store.
        kind: only artifacts of this kind, and no leftovers.
        jobs: files read at once; each is hashed on all cores anyway.
    """
    hasher = _Hasher()
    for directory in store.directories(kind):
        yield from _check_at_rest(store, directory, hasher, jobs or FILE_THREADS)
    if kind is None:
        yield from _leftovers(store.root)


def verify_some(directories: Iterable[Path], jobs: int | None = None) -> Iterator[Problem]:
    """Hash the files of some artifacts again, as :func:`verify` does those of a whole store.

    Args:
        directories: ``<store>/<kind>/<key>`` each, of one store or several.
        jobs: files read at once.
    """
    hasher = _Hasher()
    for directory in directories:
        store = Store(directory.parent.parent)
        yield from _check_at_rest(store, directory, hasher, jobs or FILE_THREADS)


class _Hasher:
    """Digests by inode, so that hard links are read once."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, int, int], str] = {}

    def digest(self, location: str, status: os.stat_result) -> str:
        inode = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        if inode not in self._known:
            self._known[inode] = hash_file(location)
        return self._known[inode]


def _check_at_rest(store: Store, directory: Path, hasher: _Hasher, jobs: int) -> list[Problem]:
    """Check an artifact; again if it was replaced meanwhile, and not if it was removed."""
    while True:
        before = _inode(directory)
        problems = _check(store, directory, hasher, jobs) if before else []
        if not problems or before == _inode(directory):
            return problems


def _inode(directory: Path) -> tuple[int, int] | None:
    try:
        status = directory.lstat()
    except OSError:
        return None
    return status.st_ino, status.st_ctime_ns


def _check(store: Store, directory: Path, hasher: _Hasher, jobs: int) -> list[Problem]:
    kind, key = directory.parent.name, directory.name
    try:
        artifact = store.open(directory)
    except ArtifactError as error:
        severity: Literal["error", "info"] = "info" if error.code == "ART140" else "error"
        text = f"{error.message}: {error.why}" if error.why else error.message
        return [Problem(error.code, directory / layout.MANIFEST, text, severity, kind, key)]
    problems = [*_check_manifest(artifact)]

    def check_file(entry: FileEntry) -> Problem | None:
        fault = _fault(f"{artifact.path}/{entry.path}", entry, hasher)
        if fault is None:
            return None
        code, text, severity = fault
        return Problem(code, artifact.path / entry.path, text, severity, kind, key)

    found = in_threads(check_file, artifact.manifest.files, jobs)
    return [*problems, *filter(None, found), *_strangers(artifact)]


def _check_manifest(artifact: Artifact) -> Iterator[Problem]:
    manifest, where = artifact.manifest, artifact.directory / layout.MANIFEST
    try:
        is_its_key = key_of(manifest.key_document) == artifact.key
    except ArtifactError:
        is_its_key = False
    if not is_its_key:
        text = "the key is not that of the key document"
        yield Problem("ART174", where, text, "error", artifact.kind, artifact.key)
    if tree_digest(manifest.files) != manifest.digest:
        text = "the digest of the artifact is not that of its list of files"
        yield Problem("ART173", where, text, "error", artifact.kind, artifact.key)


def _fault(location: str, entry: FileEntry, hasher: _Hasher) -> tuple[str, str, Severity] | None:
    """Return code, message and severity of what is wrong with a file."""
    name = quoted(entry.path)
    try:
        status = os.stat(location)  # noqa: PTH116 - strings throughout
        if status.st_size != entry.size:
            return "ART171", f"{name} has {status.st_size} bytes instead of {entry.size}", "error"
        if hasher.digest(location, status) != entry.digest:
            return "ART172", f"{name} has another content than recorded", "error"
    except (FileNotFoundError, NotADirectoryError):
        return "ART170", f"{name} is missing", "error"
    except (OSError, ArtifactError) as error:
        return "ART178", f"{name} cannot be read: {getattr(error, 'message', error)}", "error"
    if status.st_mtime_ns != entry.mtime_ns:
        # The next run compares contents where only the time differs, and corrects it.
        return "ART171", f"{name} has the recorded content, but another time", "info"
    return None


def _strangers(artifact: Artifact) -> Iterator[Problem]:
    """Yield what lies in an artifact and is not in its manifest."""
    kind, key = artifact.kind, artifact.key
    for place in layout.listed(artifact.directory):
        if place.name not in _BESIDE and place.name != artifact.manifest.name:
            text = f"{quoted(place.name)} does not belong to the artifact"
            yield Problem("ART175", place, text, "info", kind, key)
    listed = {entry.path for entry in artifact.manifest.files}
    for folder, directories, files in os.walk(artifact.path):
        directories.sort()
        links = [name for name in directories if Path(folder, name).is_symlink()]
        for name in sorted([*files, *links]):
            place = Path(folder, name)
            path = place.relative_to(artifact.path).as_posix()
            if path not in listed and not any(each.startswith(f"{path}/") for each in listed):
                text = f"{quoted(path)} is in no manifest"
                yield Problem("ART175", place, text, "error", kind, key)


def _leftovers(root: Path) -> Iterator[Problem]:
    for directory in staging.dead(root):
        yield Problem(
            "ART176", directory, "left by a process that died; a sweep deletes it", "info"
        )
    for path in layout.listed(root / layout.LOCKS):
        try:
            is_left = layout.is_lock_name(path.name) and is_free(path)
        except OSError:
            is_left = False
        if is_left:
            yield Problem("ART177", path, "left by a process that died; harmless", "info")
    for place in layout.listed(root):
        if place.name in _AT_ROOT or place.name.startswith(layout.MEMO):
            continue
        strange = [place]
        if layout.is_kind(place.name) and place.is_dir():
            strange = [each for each in layout.listed(place) if not layout.is_key(each.name)]
        for each in strange:
            yield Problem("ART175", each, f"{quoted(each.name)} is not the store's", "info")
