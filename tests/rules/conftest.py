"""The disk of the machine for which examples are planned."""

from __future__ import annotations

import pytest

from mmtrt.rules.host import disk_short

FREE_BYTES = 100 << 30


@pytest.fixture(autouse=True)
def small_disk(monkeypatch):
    """Let every store lie on a disk with 100 GiB free, whatever this machine has."""
    monkeypatch.setattr(disk_short, "free_bytes", lambda plan: FREE_BYTES)
