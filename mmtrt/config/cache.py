"""Composed configurations that were seen before, so that a repeated command skips Hydra.

An entry is plain data. Its key covers everything that composition reads: the overrides, the YAML
files (by path, size and times), the versions of Hydra, OmegaConf and mmtrt, and the age of this
package's own files; the environment variables that the YAML files mention are stored as digests
and compared on every hit. An entry that cannot be read, and a directory that cannot be written,
are as good as no cache: never an error.

Nothing here imports more than the standard library, and nothing slow unless there is a miss.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmtrt.redaction import of_environment

SCHEMA = 1
MAX_ENTRIES = 256
MAX_FILES = 2000
"""A directory tree with more names than this is not looked through: nothing is cached."""
RACY_NS = 50_000_000
"""A file that was read this soon after its last change may have changed again without a new time
stamp (*chosen*: five ticks of the coarsest kernel clock), so what was made of it is not stored."""
ENTRY_POINTS = "mmtrt.recipes"
DISTRIBUTIONS = ("hydra-core", "omegaconf", "mmtrt")

_RESOLVER = re.compile(r"\$\{\s*([^\s{}:,$]+)\s*:")
_ENV = re.compile(r"\$\{\s*oc\.env\s*:\s*([A-Za-z_][A-Za-z0-9_]*)\s*[,}]")
_SKIPPED_DIRS = frozenset({"__pycache__", "assets", "node_modules"})


@dataclass(frozen=True, slots=True)
class Entry:
    """What a composition left behind: values of JSON only."""

    data: dict[str, Any]
    sources: list[list[str]]
    """[path, package] of each file that took part, in the order of merging."""
    set_by: list[list[Any]]
    """[key path, whole, override] of each value that an override set."""
    env: dict[str, str]
    """Name -> digest of the value of each environment variable that the files mention."""


@dataclass(frozen=True, slots=True)
class Installed:
    """What the metadata of the installed packages say."""

    versions: dict[str, str]
    recipe_dirs: tuple[str, ...]
    """Directories announced under the entry-point group ``mmtrt.recipes``."""


def directory() -> Path | None:
    """Return where entries lie, ``None`` if caching is switched off or has no place."""
    if os.environ.get("MMTRT_COMPOSE_CACHE") == "0":
        return None
    if chosen := os.environ.get("MMTRT_CACHE_DIR"):
        return Path(chosen)
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    except RuntimeError:  # no home directory
        return None
    return base / "mmtrt" / "compose" if base.is_absolute() else None


def key(
    overrides: Sequence[str], config_name: str, dirs: Sequence[str], installed: Installed
) -> str | None:
    """Return the name of the entry, ``None`` if the result must not be cached.

    Args:
        overrides: in their order, which matters.
        config_name: the primary config.
        dirs: every directory that Hydra searches, in its order.
        installed: the versions that take part.
    """
    if any("searchpath" in each for each in overrides):
        return None  # leads to files that the key does not cover
    files = yaml_files(dirs)
    if files is None:
        return None
    # The checks that a hit leaves out: their version stands still in a checkout.
    code = [[each.name, each.stat().st_mtime_ns] for each in os.scandir(Path(__file__).parent)]
    text = json.dumps(
        [SCHEMA, list(overrides), config_name, list(dirs), files, sorted(code), installed.versions],
        separators=(",", ":"),
        sort_keys=True,
    )
    return hashlib.sha256(text.encode()).hexdigest()


def yaml_files(dirs: Sequence[str]) -> list[tuple[str, int, int, int]] | None:
    """Return (path, size, mtime_ns, ctime_ns) of every YAML file; ``None`` if there are too many.

    The change time is part of it because a copy or checkout may keep size and modification time.
    """
    found: list[tuple[str, int, int, int]] = []
    pending = list(dirs)
    names = 0
    while pending:
        try:
            with os.scandir(pending.pop()) as listing:
                for each in listing:
                    names += 1
                    if names > MAX_FILES:
                        return None
                    if each.name.startswith("."):
                        continue
                    if each.name.endswith(".yaml"):
                        status = each.stat()
                        found.append(
                            (each.path, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
                        )
                    elif each.name not in _SKIPPED_DIRS and each.is_dir():
                        pending.append(each.path)
        except OSError:
            continue  # composition itself will say what is wrong
    found.sort()
    return found


def load(name: str) -> Entry | None:
    """Return a stored entry if it still holds."""
    place = directory()
    if place is None:
        return None
    path = place / f"{name}.json"
    try:
        raw = _read_json(path)
        entry = Entry(raw["data"], raw["sources"], raw["set_by"], raw["env"])
        if raw["schema"] != SCHEMA or raw["key"] != name or not isinstance(entry.data, dict):
            return None
        if any(env_digest(variable) != seen for variable, seen in entry.env.items()):
            return None
        os.utime(path)  # the oldest go first
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return entry


def save(name: str, entry: Entry) -> None:
    """Store an entry, whole or not at all; one that holds credentials is not stored."""
    if of_environment().tree([entry.data, entry.set_by]) != [entry.data, entry.set_by]:
        return
    record = {
        "schema": SCHEMA,
        "key": name,
        "data": entry.data,
        "sources": entry.sources,
        "set_by": entry.set_by,
        "env": entry.env,
    }
    _write_json(name, record)


def env_mentioned(texts: Iterable[str]) -> set[str] | None:
    """Return the environment variables that texts mention as ``${oc.env:NAME}``.

    ``None`` means that the texts use another resolver, or a name that is itself computed, so that
    the outcome may differ from call to call in ways that no key covers.
    """
    names: set[str] = set()
    for text in texts:
        resolvers = _RESOLVER.findall(text)
        mentioned = _ENV.findall(text)
        if len(resolvers) != len(mentioned):
            return None
        names.update(mentioned)
    return names


def env_digest(name: str) -> str:
    """Return a digest of a variable's value, so that the cache does not hold secrets."""
    value = os.environ.get(name)
    if value is None:
        return ""
    text = f"{name}={value}".encode(errors="surrogateescape")
    return hashlib.sha256(text).hexdigest()


def is_plain(value: Any) -> bool:
    """Tell whether a value comes back from JSON as it went in."""
    if value is None or isinstance(value, (str, bool, int)):
        return True
    if isinstance(value, float):
        return value == value and value not in (float("inf"), float("-inf"))
    if isinstance(value, list):
        return all(is_plain(each) for each in value)
    if isinstance(value, dict):
        return all(isinstance(k, str) and is_plain(v) for k, v in value.items())
    return False


def is_settled(files: Iterable[tuple[str, int, int, int]], read_ns: int) -> bool:
    """Tell whether files were old enough when they were read that any change since then shows."""
    return all(max(mtime, ctime) < read_ns - RACY_NS for _, _, mtime, ctime in files)


def installed() -> Installed:
    """Return versions and announced directories; remembered until a package comes or goes."""
    stamp = _packages_stamp()
    place = directory()
    name = f"installed-{stamp}"
    if place is not None:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            raw = _read_json(place / f"{name}.json")
            if raw["schema"] == SCHEMA:
                versions = {str(k): str(v) for k, v in raw["versions"].items()}
                return Installed(versions, tuple(str(each) for each in raw["recipe_dirs"]))
    fresh = _ask_metadata()
    record = {
        "schema": SCHEMA,
        "versions": fresh.versions,
        "recipe_dirs": list(fresh.recipe_dirs),
    }
    _write_json(name, record)
    return fresh


def _packages_stamp() -> str:
    """Return a digest that changes when a package is installed, upgraded or removed.

    Each of these makes or removes a ``*.dist-info`` directory, which moves the time stamps of its
    parent. The current directory is left out: it changes with every run.
    """
    seen: list[Any] = [SCHEMA, sys.version]
    skipped = {""}
    with contextlib.suppress(OSError):
        skipped.add(str(Path.cwd()))
    for each in sys.path:
        if each in skipped:
            continue
        try:
            status = Path(each).stat()
        except OSError:
            continue
        seen.append([each, status.st_ino, status.st_mtime_ns, status.st_ctime_ns])
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:32]


def _ask_metadata() -> Installed:
    from importlib import metadata

    versions = {}
    for each in DISTRIBUTIONS:
        try:
            versions[each] = metadata.version(each)
        except metadata.PackageNotFoundError:
            versions[each] = ""
    announced = sorted(metadata.entry_points(group=ENTRY_POINTS), key=lambda e: (e.name, e.value))
    dirs = (_package_dir(each.value) for each in announced)
    return Installed(versions, tuple(d for d in dirs if d is not None))


def _package_dir(value: str) -> str | None:
    """Return the directory that an entry point names, without importing it."""
    from importlib import util

    if Path(value).is_absolute():
        return value if Path(value).is_dir() else None
    top, *below = value.split(":")[0].replace("/", ".").split(".")
    try:
        spec = util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return None
    for base in (spec and spec.submodule_search_locations) or ():
        path = Path(base, *below).absolute()
        if path.is_dir():
            return str(path)
    return None


def _read_json(path: Path) -> Any:
    return json.loads(path.read_bytes())


def _write_json(name: str, record: dict[str, Any]) -> None:
    """Write beside, then rename; then forget the oldest entries."""
    place = directory()
    if place is None:
        return
    temporary = place / f".{name}.{os.getpid()}.{time.time_ns()}"
    try:
        text = json.dumps(record, separators=(",", ":"))
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as f:
            f.write(text)
        temporary.replace(place / f"{name}.json")
        _forget_oldest(place)
    except (OSError, ValueError, TypeError, RecursionError):
        with contextlib.suppress(OSError):
            temporary.unlink()


def _forget_oldest(place: Path) -> None:
    paths = list(place.iterdir())
    if len(paths) <= MAX_ENTRIES:
        return
    ages = []
    for path in paths:
        with contextlib.suppress(OSError):
            ages.append((path.stat().st_mtime_ns, path))
    for _, path in sorted(ages)[: len(paths) - MAX_ENTRIES]:
        with contextlib.suppress(OSError):
            path.unlink()
