"""Every name that the store gives to a file below its root; nothing else knows them.

::

    <root>/<kind>/<key>/            an artifact: whole from the moment it is there
        manifest.json command.json stdout.log stderr.log
        .used                       touched whenever a run takes the artifact
        <name>/...                  the output
    <root>/.staging/<kind>-<key[:16]>-<random>/      the same, being made; .alive is locked
    <root>/.failed/<kind>-<key[:16]>/                logs and exit.json of the latest failure
    <root>/.damaged/<kind>-<key[:16]>-<random>/      taken out by ``verify``; for ``gc`` alone
    <root>/.locks/<kind>-<key>.lock                  one builder at a time
    <root>/.side/...                                 what tools keep for the next build
    <root>/.memo.sqlite                              digests of files, see digest.py
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmtrt.artifacts.faults import quoted
from mmtrt.errors import ArtifactError

MANIFEST = "manifest.json"
COMMAND = "command.json"
STDOUT = "stdout.log"
STDERR = "stderr.log"
EXIT = "exit.json"
USED = ".used"
ALIVE = ".alive"
STAGING = ".staging"
FAILED = ".failed"
DAMAGED = ".damaged"
LOCKS = ".locks"
SIDE = ".side"
MEMO = ".memo.sqlite"

LOGS = frozenset({COMMAND, STDOUT, STDERR})
RESERVED = LOGS | {MANIFEST, EXIT}
"""Names beside the output directory that it cannot have."""

_SHORT_KEY = 16


@dataclass(frozen=True, slots=True)
class Logs:
    """Where to read how an artifact was made, or how an attempt failed."""

    directory: Path

    @property
    def command(self) -> Path:
        """The command as JSON: ``argv``, ``cwd``, ``env``."""
        return self.directory / COMMAND

    @property
    def stdout(self) -> Path:
        """What the command printed."""
        return self.directory / STDOUT

    @property
    def stderr(self) -> Path:
        """What the command complained about."""
        return self.directory / STDERR

    @property
    def exit(self) -> Path:
        """How the command ended, as JSON; only failures have it."""
        return self.directory / EXIT


def short_name(kind: str, key: str) -> str:
    """Return the name by which people can tell staging and failure directories apart."""
    return f"{kind}-{key[:_SHORT_KEY]}"


def lock_name(kind: str, key: str) -> str:
    """Return the name of the lock file of a key."""
    return f"{kind}-{key}.lock"


def is_lock_name(name: str) -> bool:
    """Return whether the store made the lock file; others keep locks of their own beside it."""
    kind, dash, key = name.removesuffix(".lock").rpartition("-")
    return bool(dash) and name.endswith(".lock") and is_kind(kind) and is_key(key)


def is_kind(kind: str) -> bool:
    """Return whether a text can be the kind of a stage: letters, digits, ``_`` and ``-``."""
    return kind.isascii() and kind[:1].isalpha() and kind.replace("-", "_").isidentifier()


def is_key(key: str) -> bool:
    """Return whether a text is a key: 64 hexadecimal digits."""
    return len(key) == 64 and not key.strip("0123456789abcdef")


def require_place(kind: str, key: str) -> None:
    """Refuse a kind or key that would lead out of the store.

    Raises:
        ArtifactError: ART144.
    """
    if not is_kind(kind):
        raise _no_name(f"{quoted(kind)!r} is not the kind of a stage", "letters, digits, _ and -")
    if not is_key(key):
        raise _no_name(f"{quoted(key)!r} is not a key", "64 hexadecimal digits")


def require_name(name: str) -> None:
    """Refuse a model name that cannot be one directory beside the logs.

    Raises:
        ArtifactError: ART144.
    """
    fits = bool(name) and not name.startswith(".") and "/" not in name and "\0" not in name
    try:
        fits = fits and len(name.encode("utf-8")) <= 255
    except UnicodeEncodeError:
        fits = False
    if not fits or name in RESERVED:
        raise _no_name(
            f"{quoted(name)!r} cannot be the directory of a model",
            "one part without slash, not starting with a dot, at most 255 bytes of UTF-8, "
            f"and none of {', '.join(sorted(RESERVED))}",
        )


def listed(directory: Path) -> list[Path]:
    """Return what is in a directory, sorted; nothing if it is missing or cannot be read."""
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []


def _no_name(message: str, wanted: str) -> ArtifactError:
    return ArtifactError(message, code="ART144", fix=f"wanted: {wanted}")
