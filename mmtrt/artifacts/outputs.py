"""What a stage wrote: checked, hashed, made read-only, and brought to the disk."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mmtrt.artifacts.atomic import sync_all
from mmtrt.artifacts.digest import DigestMemo, changed_while_read, entry_of, file_threads
from mmtrt.artifacts.faults import explained, quoted
from mmtrt.artifacts.lookup import Artifact
from mmtrt.artifacts.manifest import FileEntry, first_difference
from mmtrt.artifacts.threads import in_threads
from mmtrt.artifacts.tree import Leaf, scan
from mmtrt.errors import ArtifactError

_MEMO_BYTES = 1 << 20
"""Chosen: hashing a smaller file (0.2 ms) is cheaper than opening the memo to look it up."""


@dataclass(frozen=True, slots=True)
class Output:
    """A directory that will move into the store, link by link and byte for byte as it is."""

    entries: tuple[FileEntry, ...]
    """Every file, sorted by path."""
    own: tuple[str, ...]
    """Locations of the files and directories that lie here and are to be synced: not what symbolic
    links lead to."""


def seal(directory: Path, final: Path, memo: DigestMemo, inputs: Iterable[Artifact] = ()) -> Output:
    """Check and hash the files of a finished output directory, and make them read-only.

    Not made read-only is what belongs to somebody else, too: what symbolic links lead to, and files
    with a hard link outside this directory. Hard links to files of the store are so already.

    Args:
        directory: the output directory, in its staging directory.
        final: where the output directory will be.
        memo: knows the digests of linked files.
        inputs: artifacts whose files may be linked here; their manifests say their digests, so
            gigabytes that only got one more link are not read.

    Raises:
        ArtifactError: ART160 to ART165 for what cannot be kept, ART15x for what the operating
            system refuses.
    """
    if not directory.is_dir():
        raise _no_output(directory, f"{quoted(str(directory))} is not a directory")
    tree = scan(os.fspath(directory))
    if not tree.files:
        raise _no_output(directory, "the stage wrote no output")
    for link in tree.links:
        _require_movable(link, directory, final)
    here = Counter(
        (leaf.stat.st_dev, leaf.stat.st_ino) for leaf in tree.files if not leaf.is_linked
    )

    forgetful = DigestMemo(None)
    is_any_shared = any(leaf.is_linked or leaf.stat.st_nlink > 1 for leaf in tree.files)
    recorded = _recorded(inputs) if is_any_shared else {}

    def seal_file(leaf: Leaf) -> FileEntry:
        status = leaf.stat
        if not leaf.is_linked and here[status.st_dev, status.st_ino] == status.st_nlink:
            _make_read_only(leaf)
        known = recorded.get((status.st_dev, status.st_ino))
        if known is not None:
            return entry_of(leaf, status, known)
        is_shared = leaf.is_linked or status.st_nlink > 1
        asked = memo if is_shared and status.st_size >= _MEMO_BYTES else forgetful
        return entry_of(leaf, *asked.measure(leaf.location))

    entries = in_threads(seal_file, tree.files, file_threads(tree.files))
    own = [leaf.location for leaf in tree.files if not leaf.is_linked]
    return Output(tuple(entries), (*own, *tree.directories))


def _recorded(inputs: Iterable[Artifact]) -> dict[tuple[int, int], str]:
    """Return device and inode -> digest of the files that the store itself holds as recorded."""
    known = {}
    for artifact in inputs:
        for entry in artifact.manifest.files:
            try:
                # Never what a symbolic link leads to: that is the user's, and may change.
                status = os.lstat(f"{artifact.path}/{entry.path}")
            except OSError:
                continue
            if (status.st_size, status.st_mtime_ns) == (entry.size, entry.mtime_ns):
                known[status.st_dev, status.st_ino] = entry.digest
    return known


def settle(directory: Path, output: Output, more: tuple[Path, ...]) -> None:
    """Bring a sealed output and ``more`` to the disk, then see that the files are still the same.

    Raises:
        ArtifactError: ART165, if a file was written after it was hashed; ART15x.
    """
    with explained("bring to the disk", directory):
        sync_all([*output.own, *map(os.fspath, more)])
    difference = first_difference(os.fspath(directory), output.entries)
    if difference is not None:
        raise changed_while_read(os.fspath(directory / difference[0]))


def _make_read_only(leaf: Leaf) -> None:
    mode = 0o555 if leaf.stat.st_mode & 0o111 else 0o444
    with suppress(PermissionError):  # a container wrote it as another user: protected enough
        Path(leaf.location).chmod(mode)


def _no_output(directory: Path, message: str) -> ArtifactError:
    return ArtifactError(
        message,
        code="ART164",
        at=quoted(str(directory)),
        why="an artifact is a directory with at least one file",
        fix="see whether the command writes somewhere else",
    )


def _require_movable(link: str, directory: Path, final: Path) -> None:
    """Refuse a link that will lead elsewhere once the directory has moved."""
    at = Path(link)
    with explained("follow the link", link):
        text = at.readlink()
        leads_to = at.resolve(strict=True)
    # Physical paths: what `..` means does not depend on links in the path of the store.
    staging, final = directory.parent.resolve(), final.parent.resolve() / final.name
    is_inside = leads_to == staging or staging in leads_to.parents
    if text.is_absolute():
        if not is_inside:
            return
        why = f"{quoted(str(text))} lies in the staging directory, which is about to move"
    else:
        moved = Path(os.path.normpath(final / at.relative_to(directory).parent / text))
        if at == directory:
            moved = Path(os.path.normpath(final.parent / text))
        if is_inside:
            leads_on = final in moved.parents and directory.resolve() in leads_to.parents
        else:
            leads_on = moved.resolve() == leads_to
        if leads_on:
            return
        why = f"{quoted(str(text))} will lead somewhere else from {quoted(str(final))}"
    raise ArtifactError(
        f"the symbolic link {quoted(link)} would break",
        code="ART161",
        at=quoted(link),
        why=why,
        fix="link by a relative path within the output, or to a place outside the store by its "
        "absolute path",
    )
