"""Compare a text with a file beside the tests, whole; ``MMTRT_GOLDEN=1 pytest`` rewrites them."""

from __future__ import annotations

import os
from pathlib import Path

from mmtrt import __version__


def check(path: Path, text: str) -> None:
    text = text.replace(f"mmtrt {__version__}", "mmtrt VERSION")
    if os.environ.get("MMTRT_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
