"""JSON files of models, checkpoints and engines: read with a clear error, written one way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmtrt.native.errors import NativeError


def read_json(path: Path, *, code: str, what: str, fix: str | None = None) -> dict[str, Any]:
    """Return the object in a JSON file.

    Args:
        path: the file.
        code: the error code to use when it cannot be read.
        what: what the file is for, as a noun: "the model's configuration".
        fix: what the user can do when it is missing.

    Raises:
        NativeError: ``code``, if the file is missing, not JSON, or not an object.
    """
    if not path.is_file():
        raise NativeError(f"{path}: no such file ({what})", code=code, fix=fix)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise NativeError(f"{path}: not JSON ({what}): {error}", code=code) from error
    if not isinstance(document, dict):
        raise NativeError(f"{path}: expected a JSON object ({what})", code=code)
    return document


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a JSON object; equal objects give equal bytes."""
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    # The old file may be linked into another checkpoint: replace it, do not write into it.
    path.unlink(missing_ok=True)
    path.write_text(text + "\n", encoding="utf-8")
