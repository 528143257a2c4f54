"""What an artifact says of itself: its files with their digests, and what made them."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mmtrt.artifacts.atomic import write_text
from mmtrt.artifacts.faults import explained, quoted
from mmtrt.artifacts.keys import canonical, flags_of, tree_hash
from mmtrt.errors import ArtifactCorrupt, ArtifactError

SCHEMA = 1
"""Raised when an older mmtrt could misread a manifest. Fields may be added without."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of an artifact or of a directory of the user's."""

    path: str
    """Relative, with ``/`` between its parts."""
    size: int
    mtime_ns: int
    digest: str
    """BLAKE3 of the content, 64 hexadecimal digits."""
    executable: bool = False


def tree_digest(entries: Iterable[FileEntry], under: str = "") -> str:
    """Return the digest of the files below a directory, or of one file.

    Names and contents count; times, permissions and empty directories do not. Paths are taken
    relative to ``under``, so a directory has the same digest wherever it lies. A single file
    counts without its name.

    Args:
        entries: the files, in any order.
        under: relative path of a directory or a file; empty for everything.

    Raises:
        ArtifactError: ART142, if nothing is there.
    """
    prefix = "/".join(part for part in under.split("/") if part not in ("", "."))
    if under.startswith("/"):
        rows = []
    elif not prefix:
        rows = [(entry.path, entry.size, entry.digest) for entry in entries]
    else:
        inside, skip = f"{prefix}/", len(prefix) + 1
        rows = [
            (entry.path[skip:], entry.size, entry.digest)
            for entry in entries
            if entry.path == prefix or entry.path.startswith(inside)
        ]
    if not rows:
        raise ArtifactError(
            f"there is no file at {quoted(under)}" if under else "there are no files",
            code="ART142",
            at=quoted(under) or None,
            why="a digest of nothing would be the same for every typing mistake",
            fix="name a path that the stage writes, relative to its output" if under else None,
        )
    return tree_hash(rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Everything there is to know about an artifact, and how it was made."""

    schema: int = SCHEMA
    kind: str
    """Kind of the stage."""
    key: str
    name: str
    """Name of the model, and of the directory that holds the files."""
    stage: str
    """Id of the stage in its recipe."""
    key_document: dict[str, Any]
    """What the key is the hash of."""
    digest: str
    """:func:`tree_digest` of all files."""
    files: tuple[FileEntry, ...]
    """Sorted by path; paths are relative to the directory ``name``."""
    command: dict[str, Any]
    """As rendered: ``argv``, ``cwd``, ``env``."""
    host: dict[str, Any]
    """The machine that made it; informational."""
    created: str
    """UTC, ISO 8601."""
    seconds: float
    """Wall time of the command."""
    peak_rss_bytes: int | None
    backend: str
    fake: bool
    """Whether the files only pretend to be a model."""
    made: dict[str, Any] = field(default_factory=dict)
    """How it came about, as far as the key does not say: inputs, environment, versions, times.

    Informational, and empty in manifests of older versions.
    """

    @property
    def flags(self) -> dict[str, list[str]]:
        """The command by its flags, see :func:`flags_of`; none in manifests of older versions."""
        words = self.key_document.get("argv")
        return flags_of(map(str, words)) if isinstance(words, list) else {}

    def to_json(self) -> str:
        """Return canonical JSON: names sorted, a line for each field and each file.

        Raises:
            ArtifactError: ART143, if a field cannot be written.
        """
        lines = []
        for name in sorted(each.name for each in fields(self)):
            value = getattr(self, name)
            if name == "files":
                rows = ",\n".join(canonical(_as_dict(entry)) for entry in value)
                lines.append(f'"files":[\n{rows}\n]')
            else:
                lines.append(f'"{name}":{canonical(value)}')
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @classmethod
    def from_json(cls, text: str | bytes, at: str = "manifest.json") -> Manifest:
        """Read what :meth:`to_json` wrote; fields that are not known are left out.

        Raises:
            ArtifactError: ART140, if a newer mmtrt wrote it.
            ArtifactCorrupt: ART141, if it is garbled.
        """
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _garbled(at, f"it is not JSON: {error}") from error
        if not isinstance(document, dict):
            raise _garbled(at, "it is not a JSON object")
        schema = document.get("schema")
        if type(schema) is not int or schema < 1:
            raise _garbled(at, "it has no schema number")
        if schema > SCHEMA:
            raise ArtifactError(
                f"the manifest has schema {schema}, this mmtrt reads up to {SCHEMA}",
                code="ART140",
                at=quoted(at),
                why="a newer mmtrt wrote this artifact",
                fix="upgrade mmtrt, or set paths.store to another directory",
            )
        return cls(**_checked(document, at))

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read a manifest file.

        Raises:
            ArtifactError: ART140, if a newer mmtrt wrote it; ART153 or ART154, if it cannot be
                read.
            ArtifactCorrupt: ART141, if it is missing or garbled.
        """
        with explained("read", path):
            try:
                content = path.read_bytes()
            except FileNotFoundError as error:
                raise ArtifactCorrupt(
                    "the manifest is missing",
                    code="ART141",
                    at=quoted(str(path)),
                    why="an artifact without manifest is not complete",
                    fix="run the stage again; it takes the place of the damaged artifact",
                ) from error
        return cls.from_json(content, str(path))

    def write(self, path: Path, *, sync: bool = True) -> None:
        """Write the manifest file, whole or not at all."""
        write_text(path, self.to_json(), sync=sync)


def first_difference(
    base: str,
    entries: tuple[FileEntry, ...],
    is_same: Callable[[str, FileEntry], bool] | None = None,
) -> tuple[str, str] | None:
    """Return the path of the first file that is not as recorded, and what is wrong with it.

    Looks at sizes and times, of the files that symbolic links lead to.

    Args:
        base: directory of the files.
        entries: what is recorded of them.
        is_same: asked for the content of a file of which only the time differs.

    Raises:
        OSError: if a file cannot be looked at for another reason than being missing.
    """
    stat = os.stat  # strings and one name: this runs for every file of every stage of every plan
    for entry in entries:
        try:
            status = stat(f"{base}/{entry.path}")
        except (FileNotFoundError, NotADirectoryError):
            return entry.path, f"{quoted(entry.path)} is missing"
        if status.st_size != entry.size:
            return entry.path, (
                f"{quoted(entry.path)} has {status.st_size} bytes instead of {entry.size}"
            )
        if status.st_mtime_ns != entry.mtime_ns and not (
            is_same and is_same(f"{base}/{entry.path}", entry)
        ):
            return entry.path, f"{quoted(entry.path)} was changed after it was stored"
    return None


def presentable(value: Any) -> Any:
    """Return an informational value as JSON can hold it: what does not fit becomes text.

    A command line with an odd byte must not cost the output of the command.
    """
    if isinstance(value, dict):
        return {presentable(str(name)): presentable(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [presentable(each) for each in value]
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return presentable(str(value))


def now_utc() -> str:
    """Return the current time as manifests write it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())


_TYPES: dict[str, tuple[type, ...]] = {
    "kind": (str,),
    "key": (str,),
    "name": (str,),
    "stage": (str,),
    "key_document": (dict,),
    "digest": (str,),
    "command": (dict,),
    "host": (dict,),
    "created": (str,),
    "seconds": (float, int),
    "peak_rss_bytes": (int, type(None)),
    "backend": (str,),
    "fake": (bool,),
}


def _checked(document: dict[str, Any], at: str) -> dict[str, Any]:
    known: dict[str, Any] = {"schema": document["schema"]}
    for name, types in _TYPES.items():
        try:
            value = document[name]
        except KeyError:
            raise _garbled(at, f"it has no {name}") from None
        if type(value) not in types:
            raise _garbled(at, f"its {name} is a {type(value).__name__}")
        known[name] = value
    if "/" in known["name"] or known["name"] in ("", ".", ".."):
        raise _garbled(at, "its name is no directory name")
    made = document.get("made")
    known["made"] = made if isinstance(made, dict) else {}
    known["files"] = _read_files(document.get("files"), at)
    return known


def _read_files(rows: Any, at: str) -> tuple[FileEntry, ...]:
    if not isinstance(rows, list) or not rows:
        raise _garbled(at, "it lists no files")
    entries = []
    for row in rows:
        try:
            entry = FileEntry(
                row["path"], row["size"], row["mtime_ns"], row["digest"], row["executable"]
            )
            path = entry.path
            is_well = (
                type(path) is str
                and type(entry.digest) is str
                and type(entry.size) is int
                and type(entry.mtime_ns) is int
                and type(entry.executable) is bool
                and len(entry.digest) == 64
                # A manifest may come from elsewhere; it must not reach files outside.
                and not (path[:1] in ("", "/") or "\0" in path or "/../" in f"/{path}/")
            )
        except (KeyError, TypeError):
            is_well = False
        if not is_well:
            raise _garbled(at, f"it has a row for a file that reads {row!r:.200}")
        entries.append(entry)
    return tuple(entries)


def _as_dict(entry: FileEntry) -> dict[str, Any]:
    return {
        "path": entry.path,
        "size": entry.size,
        "mtime_ns": entry.mtime_ns,
        "digest": entry.digest,
        "executable": entry.executable,
    }


def _garbled(at: str, why: str) -> ArtifactCorrupt:
    return ArtifactCorrupt(
        "the manifest is garbled",
        code="ART141",
        at=quoted(at),
        why=why,
        fix="run the stage again; it takes the place of the damaged artifact",
    )
