"""The store as ``mmtrt cache`` shows it: rows, sums, and what must stay when space is needed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mmtrt.artifacts.store import Store
from mmtrt.errors import UsageError
from mmtrt.report.collect import collect
from mmtrt.report.runs import run_dirs

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12} | {
    unit: 1024**power for power, unit in enumerate(("ki", "mi", "gi", "ti"), 1)
}


def seconds_of(text: str) -> float:
    """Read an age: ``30d``, ``12h``, ``90m``, ``2w``, ``45s``.

    Raises:
        UsageError: CFG002.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip().lower())
    if found is None:
        raise UsageError(f"{text!r} is no age", code="CFG002", fix="--older-than 30d   # s m h d w")
    return float(found[1]) * _SECONDS[found[2]]


def bytes_of(text: str) -> int:
    """Read a size: ``50GiB``, ``500MB``, ``1.5T``, or plain bytes.

    Raises:
        UsageError: CFG002.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?", text.strip().lower())
    if found is None:
        raise UsageError(f"{text!r} is no size", code="CFG002", fix="--max-size 50GiB")
    return int(float(found[1]) * _BYTES[found[2] or ""])


def age_text(seconds: float) -> str:
    """Return ``12 s``, ``5 min``, ``3 h`` or ``9 d``: one unit is enough to choose by."""
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172800, "h", 3600)):
        if seconds < limit:
            return f"{max(0, int(seconds / size))} {unit}"
    return f"{int(seconds / 86400)} d"


def list_json(
    store: Store, kind: str | None, report: Callable[[Path, str], None]
) -> dict[str, Any]:
    """Return what ``mmtrt cache ls --json`` prints.

    Args:
        store: the store.
        kind: only this kind of stage.
        report: called with what cannot be read, and why.
    """
    usage = {(row.kind, row.key): row for row in store.du()}
    rows = []
    for artifact in store.artifacts(kind, report):
        made, row = artifact.manifest, usage.get((artifact.kind, artifact.key))
        if row is None:
            continue  # removed meanwhile
        rows.append(
            {
                "kind": artifact.kind,
                "key": artifact.key,
                "model": made.name,
                "stage": made.stage,
                "backend": made.backend,
                "fake": made.fake,
                "size_bytes": row.size_bytes,
                "frees_bytes": row.frees_bytes,
                "created": made.created,
                "seconds": made.seconds,
                "used": datetime.fromtimestamp(row.used_s, timezone.utc).isoformat(
                    timespec="seconds"
                ),
                "path": str(artifact.path),
            }
        )
    return {"schema": 1, "root": str(store.root), "artifacts": rows}


def usage_json(store: Store) -> dict[str, Any]:
    """Return what ``mmtrt cache du --json`` prints; links are counted once in ``total_bytes``."""
    kinds: dict[str, dict[str, Any]] = {}
    for row in store.du():
        sums = kinds.setdefault(
            row.kind, {"kind": row.kind, "count": 0, "size_bytes": 0, "added_bytes": 0}
        )
        sums["count"] += 1
        sums["size_bytes"] += row.size_bytes
        sums["added_bytes"] += row.added_bytes
    total = sum(sums["added_bytes"] for sums in kinds.values())
    return {
        "schema": 1,
        "root": str(store.root),
        "total_bytes": total,
        "shared_bytes": sum(sums["size_bytes"] for sums in kinds.values()) - total,
        "free_bytes": free_bytes(store.root),
        "kinds": sorted(kinds.values(), key=lambda sums: -int(sums["added_bytes"])),
    }


def free_bytes(root: Path) -> int:
    """Return the free space of the disk that a directory is on, or would be made on."""
    there = next(path for path in (root.absolute(), *root.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


def keys_in_use(runs: Path) -> frozenset[tuple[str, str]]:
    """Return (kind, key) of what the newest run of each recipe used.

    If that one did not come to its end, what the newest run that did used stays, too.
    """
    settled: set[str] = set()
    keys: set[tuple[str, str]] = set()
    for run in run_dirs(runs):
        report = collect(run)
        if report.recipe in settled:
            continue
        for row in report.stages:
            if row.artifact is not None and row.key is not None:
                keys.add((row.kind, row.key))
        if report.status == "done":
            settled.add(report.recipe)
    return frozenset(keys)
