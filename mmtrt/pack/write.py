"""A pack on the disk: a directory, or an archive whose bytes depend on its contents alone."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from mmtrt.artifacts.atomic import remove_tree, sync_path
from mmtrt.artifacts.faults import explained
from mmtrt.errors import HostError, UsageError
from mmtrt.pack.code import Item
from mmtrt.pack.contents import Pack

EPOCH_S = 315532800
"""1980-01-01, the time of every file in an archive: the oldest that all formats can hold."""

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.zst")
_CHUNK_BYTES = 1 << 20


def write_pack(pack: Pack, target: Path) -> None:
    """Write a pack, whole or not at all.

    Args:
        pack: what to write.
        target: a new directory, or a file with one of the endings :data:`ARCHIVES`.

    Raises:
        UsageError: CFG003 if a directory is there already.
        HostError: ENV141 for ``.tar.zst`` without a package that writes it.
        ArtifactError: ART15x if it cannot be written.
    """
    if target.name.endswith(ARCHIVES):
        _write_archive(pack, target)
        return
    if target.exists():
        raise UsageError(
            f"{target} is there already", code="CFG003", fix="delete it, or name another directory"
        )
    with _beside(target) as place:
        place.mkdir()
        for item in pack.items:
            path = place / item.name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                shutil.copyfileobj(_open(item), file, _CHUNK_BYTES)
            path.chmod(0o755 if item.executable else 0o644)


def _write_archive(pack: Pack, target: Path) -> None:
    with _beside(target) as place:
        with (
            place.open("wb") as raw,
            _compressed(raw, target.name) as stream,
            tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive,
        ):
            for name in _directories(pack):
                archive.addfile(_entry(name, tarfile.DIRTYPE, 0, 0o755))
            for item in pack.items:
                name, mode = f"{pack.name}/{item.name}", 0o755 if item.executable else 0o644
                with _open(item) as source:
                    archive.addfile(_entry(name, tarfile.REGTYPE, item.size(), mode), source)
        sync_path(place)


def _directories(pack: Pack) -> list[str]:
    names = {pack.name}
    for item in pack.items:
        names |= {f"{pack.name}/{each.as_posix()}" for each in Path(item.name).parents}
    return sorted(name.removesuffix("/.") for name in names)


def _entry(name: str, kind: bytes, size: int, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.size, entry.mode, entry.mtime = kind, size, mode, EPOCH_S
    return entry


def _open(item: Item) -> IO[bytes]:
    return io.BytesIO(item.source) if isinstance(item.source, bytes) else item.source.open("rb")


@contextmanager
def _compressed(raw: IO[bytes], name: str) -> Iterator[IO[bytes]]:
    """Give a stream into which the archive is written.

    Raises:
        HostError: ENV141.
    """
    if name.endswith(".tar"):
        yield raw
    elif name.endswith(".zst"):
        with _zstd(raw) as stream:
            yield stream
    else:
        # Neither name nor time in the header.
        with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as stream:
            yield stream  # type: ignore[misc] # GzipFile is as good as IO[bytes]


def _zstd(raw: IO[bytes]) -> Any:
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore] # Python 3.14

        return zstd.ZstdFile(raw, "wb")
    except ImportError:
        pass
    try:
        import zstandard
    except ImportError as error:
        raise HostError(
            "nothing here writes .tar.zst",
            code="ENV141",
            fix="pip install 'mmtrt[pack]', or name it .tar.gz",
        ) from error
    return zstandard.ZstdCompressor(level=3).stream_writer(raw, closefd=False)


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """Give a place beside the target that is renamed to it if all goes well."""
    place = target.with_name(f".{target.name}.{os.urandom(6).hex()}.tmp")
    with explained("write", target):
        try:
            yield place
            place.replace(target)
        except BaseException:
            with suppress(OSError):
                remove_tree(place)
            raise
