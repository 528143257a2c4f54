from __future__ import annotations

import threading
import time

import pytest

from mmtrt.tasks import progress
from mmtrt.tasks.progress import Progress


def test_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "INTERVAL_S", 0.02)
    with Progress(100) as shown:
        shown.set("a", 50)
        shown.set("b", 30)
        shown.set("a", 10)
        time.sleep(0.1)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "progress 0 100 bytes"
    assert len(lines) > 2
    assert set(lines[1:]) == {"progress 40 100 bytes"}


def test_last_line_comes_also_after_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError), Progress(5) as shown:
        shown.set("a", 3)
        raise RuntimeError
    assert capsys.readouterr().err.splitlines()[-1] == "progress 3 5 bytes"
    assert not any("print" in thread.name for thread in threading.enumerate())
