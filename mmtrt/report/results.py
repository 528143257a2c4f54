"""``results.json``: what a sweep found, as it is read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS_FILE = "results.json"


def is_sweep(record: Path) -> bool:
    """Return whether a record is that of a sweep."""
    return (record / RESULTS_FILE).is_file()


def read_results(record: Path) -> dict[str, Any]:
    """Return the results of a sweep; empty if the file is damaged."""
    try:
        document = json.loads((record / RESULTS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
