"""What is found under a key: the artifact, nothing, or something that cannot be used."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from mmtrt.artifacts import layout
from mmtrt.artifacts.faults import explain, quoted
from mmtrt.artifacts.layout import Logs
from mmtrt.artifacts.manifest import FileEntry, Manifest, first_difference, tree_digest
from mmtrt.artifacts.weights import is_without
from mmtrt.errors import ArtifactCorrupt


@dataclass(frozen=True, slots=True)
class Artifact:
    """The kept output of a stage."""

    kind: str
    key: str
    directory: Path
    manifest: Manifest

    @property
    def path(self) -> Path:
        """The output itself: a directory with the model's name."""
        return self.directory / self.manifest.name

    @property
    def logs(self) -> Logs:
        """What its command was and printed."""
        return Logs(self.directory)

    def digest(self, under: str = "") -> str:
        """Return the digest of a directory or file of the output; see ``tree_digest``.

        Raises:
            ArtifactError: ART142, if nothing is there.
        """
        if not under:
            return self.manifest.digest
        return tree_digest(self.manifest.files, under)


@dataclass(frozen=True, slots=True)
class Hit:
    """The output is there, complete and as recorded."""

    artifact: Artifact


@dataclass(frozen=True, slots=True)
class Miss:
    """Nothing is there."""


@dataclass(frozen=True, slots=True)
class Damaged:
    """Something is there that cannot be used; publishing the key replaces it."""

    path: Path
    """The file that is wrong."""
    problem: str


Lookup: TypeAlias = Hit | Miss | Damaged


def look_up(
    directory: str,
    kind: str,
    key: str,
    is_same: Callable[[str, FileEntry], bool] | None = None,
) -> Lookup:
    """Judge an artifact's directory by its manifest, and by the sizes and times of its files.

    Args:
        directory: the artifact's.
        kind: what it should be.
        key: what it should be.
        is_same: see :func:`mmtrt.artifacts.manifest.first_difference`.

    Raises:
        ArtifactError: ART140, if a newer mmtrt wrote it; ART15x, if it cannot be read.
    """
    where = f"{directory}/{layout.MANIFEST}"
    try:
        content = _read(where)
    except (FileNotFoundError, NotADirectoryError):
        if not os.path.lexists(directory):
            return Miss()
        return Damaged(Path(where), f"{layout.MANIFEST} is missing")
    except OSError as error:
        raise explain(error, "read", where) from error
    try:
        manifest = Manifest.from_json(content, where)
    except ArtifactCorrupt as error:
        return Damaged(Path(where), f"{layout.MANIFEST} is garbled: {error.why}")
    if (manifest.kind, manifest.key) != (kind, key):
        return Damaged(Path(where), f"{layout.MANIFEST} is that of another artifact")
    if kind == "download" and _lacks_weights(manifest):
        return Damaged(Path(directory, manifest.name), "it was stored without weights")
    if tree_digest(manifest.files) != manifest.digest:
        # Whatever reads this artifact has the digest in its key.
        return Damaged(Path(where), "the digest of the artifact is not that of its list of files")
    base = f"{directory}/{manifest.name}"
    try:
        difference = first_difference(base, manifest.files, is_same)
    except OSError as error:
        raise explain(error, "read", base) from error
    if difference is not None:
        return Damaged(Path(base, difference[0]), difference[1])
    return Hit(Artifact(kind, key, Path(directory), manifest))


def open_artifact(directory: Path) -> Artifact:
    """Read the artifact in a directory without looking at its files.

    Raises:
        ArtifactError: ART140, ART153 or ART154, if it cannot be read.
        ArtifactCorrupt: ART141, if there is no manifest, or not its own.
    """
    kind, key = directory.parent.name, directory.name
    manifest = Manifest.read(directory / layout.MANIFEST)
    if (manifest.kind, manifest.key) != (kind, key):
        raise ArtifactCorrupt(
            "the manifest is that of another artifact",
            code="ART141",
            at=quoted(str(directory)),
            why=f"it says {manifest.kind}/{manifest.key}",
        )
    return Artifact(kind, key, directory, manifest)


def _lacks_weights(manifest: Manifest) -> bool:
    """Return whether a download was stored without weights, as from a part-filled cache."""
    if manifest.fake or (include := manifest.flags.get("include")) is None:
        return False
    return is_without((entry.path for entry in manifest.files), include)


def _read(path: str) -> bytes:
    # A third of the time of Path.read_bytes, for what every stage of every plan does.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        content = os.read(descriptor, size + 1)
        while more := os.read(descriptor, 1 << 20):
            content += more
    finally:
        os.close(descriptor)
    return content
