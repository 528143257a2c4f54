"""Canonical JSON, and the key that is its hash.

Everything hashed starts with a type tag, so that two kinds of document never share a hash.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from mmtrt.errors import ArtifactError

_KEY_TAG = "mmtrt.key"
_TREE_TAG = "mmtrt.tree"

PROGRAM = "program"
_FLAG = re.compile(r"--?(?P<name>[A-Za-z][\w-]*)(?:=(?P<value>.*))?", re.DOTALL)


def key_of(document: dict[str, Any]) -> str:
    """Return the key of a key document: 64 hexadecimal digits.

    Raises:
        ArtifactError: ART143, if the document cannot be written as canonical JSON.
    """
    return _hash(_KEY_TAG, document)


def tree_hash(rows: list[tuple[str, int, str]]) -> str:
    """Return the hash of the rows (path, size, digest) of a directory's files, in any order."""
    return _hash(_TREE_TAG, sorted(rows))


def flags_of(words: Iterable[str]) -> dict[str, list[str]]:
    """Return a command by its flags: name without dashes -> the words behind it, in order.

    The program itself, up to the first flag, is under :data:`PROGRAM`. This is for people to
    compare; it is not what is hashed, since a value that begins with dashes reads as a flag.
    """
    found: dict[str, list[str]] = {PROGRAM: []}
    values = found[PROGRAM]
    for word in words:
        flag = _FLAG.fullmatch(word)
        if flag is None:
            values.append(word)
            continue
        values = found.setdefault(flag["name"].replace("-", "_"), [])
        if flag["value"] is not None:
            values.append(flag["value"])
    return found


def by_flags(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a key document with ``flags`` in the place of its ``argv``."""
    return {
        "flags" if name == "argv" else name: flags_of(value) if name == "argv" else value
        for name, value in document.items()
    }


def canonical(value: Any) -> str:
    """Return the one JSON text of a value: sorted names, no spaces, no escapes beyond JSON's own.

    Tuples read as lists. Refused is what would not come back the same: names that are not strings
    (``1`` and ``"1"`` would meet), NaN and infinities, half characters of undecodable file names.

    Raises:
        ArtifactError: ART143, naming the place.
    """
    _check(value, "")
    return _dump(value)


def _hash(tag: str, value: Any) -> str:
    _check(value, "")
    return hashlib.sha256(_dump([tag, value]).encode("utf-8")).hexdigest()


def _dump(value: Any) -> str:
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def _check(value: Any, at: str) -> None:
    if value is None or isinstance(value, (bool, int)):
        return
    if isinstance(value, str):
        if not value.isascii():
            _check_text(value, at)
    elif isinstance(value, dict):
        for name, each in value.items():
            if not isinstance(name, str):
                raise _refusal(f"{name!r} is a name that is not a string", at)
            if not name.isascii():
                _check_text(name, at)
            _check(each, f"{at}.{name}")
    elif isinstance(value, (list, tuple)):
        for index, each in enumerate(value):
            _check(each, f"{at}[{index}]")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise _refusal(f"{value} is not a number", at)
    else:
        raise _refusal(f"a {type(value).__name__} is nothing that JSON knows", at)


def _check_text(text: str, at: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise _refusal(f"{text!r} is not valid Unicode", at) from None


def _refusal(why: str, at: str) -> ArtifactError:
    return ArtifactError(
        "a document cannot be written as canonical JSON",
        code="ART143",
        at=at.lstrip(".") or None,
        why=why,
        fix="use strings, whole and finite numbers, true, false, null, lists and mappings",
    )
