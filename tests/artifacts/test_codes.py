from __future__ import annotations

import re
from pathlib import Path

import mmtrt.artifacts
from mmtrt.artifacts.codes import CODES

PACKAGE = Path(next(iter(mmtrt.artifacts.__path__)))


def test_every_code_is_in_the_table_and_used() -> None:
    modules = [path for path in PACKAGE.glob("*.py") if path.name != "codes.py"]
    assert len(modules) > 10
    used = {code for path in modules for code in re.findall(r'"(ART\d{3})"', path.read_text())}
    assert used == set(CODES)


def test_the_table_is_sorted() -> None:
    assert list(CODES) == sorted(CODES)
