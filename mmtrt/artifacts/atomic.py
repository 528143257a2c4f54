"""Files that appear whole or not at all, and directories that survive a power cut or vanish."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from mmtrt.artifacts.faults import explained
from mmtrt.artifacts.threads import in_threads

_SYNC_THREADS = 8
"""Chosen: journalling file systems commit concurrent fsyncs together, so eight cost about one."""


def write_text(path: Path, text: str, *, sync: bool = True) -> None:
    """Write a UTF-8 file as :func:`write_bytes` does."""
    write_bytes(path, text.encode("utf-8"), sync=sync)


def write_bytes(path: Path, content: bytes, *, sync: bool = True) -> None:
    """Write a file by a temporary file beside it and a rename; readers see the old or the new one.

    Args:
        path: the file; its directory must exist.
        content: the whole content.
        sync: whether content and name are on disk on return. Without it a power cut (not a kill)
            can leave an empty file; for callers that sync later themselves.

    Raises:
        ArtifactError: ART150 to ART154; the old file is untouched then.
    """
    beside = path.with_name(f".{path.name[:64]}.{os.urandom(6).hex()}.tmp")
    with explained("write", path):
        try:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            try:
                view = memoryview(content)
                while view:
                    view = view[os.write(descriptor, view) :]
                if sync:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        if sync:
            sync_path(path.parent)


def sync_path(path: str | os.PathLike[str]) -> None:
    """Bring a file's content, or a directory's names, to the disk.

    Raises:
        OSError: as the operating system says it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot sync a directory
            raise
    finally:
        os.close(descriptor)


def sync_all(paths: Sequence[str]) -> None:
    """Bring several files and directories to the disk at once."""
    in_threads(sync_path, paths, _SYNC_THREADS)


def remove_tree(root: Path) -> None:
    """Delete a file or directory with everything below it; links are deleted, never followed.

    Deletes as much as it can, also from directories without write permission. Nothing there, or
    another process deleting the same, is fine.

    Raises:
        OSError: the first refusal, once the rest is gone.
    """
    if root.is_symlink() or not root.is_dir():
        root.unlink(missing_ok=True)
        return
    first: OSError | None = None
    for folder, directories, _ in os.walk(root):
        for name in [".", *directories]:
            first = _make_writable(Path(folder, name)) or first
    for folder, directories, files in os.walk(root, topdown=False):
        for name in (*files, *directories):
            path = Path(folder, name)
            try:
                path.rmdir() if name in directories and not path.is_symlink() else path.unlink()
            except FileNotFoundError:
                pass
            except OSError as error:
                first = first or error
    try:
        root.rmdir()
    except FileNotFoundError:
        return
    except OSError as error:
        raise first or error from None


def _make_writable(path: Path) -> OSError | None:
    try:
        mode = path.lstat().st_mode
        if mode & 0o170000 == 0o040000 and mode & 0o700 != 0o700:
            path.chmod(0o700)
    except FileNotFoundError:
        pass
    except OSError as error:
        return error
    return None
