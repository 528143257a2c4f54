from __future__ import annotations

import threading

import pytest

from mmtrt.tasks import progress
from mmtrt.tasks.progress import Progress
from tests.waiting import wait_until


def test_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "INTERVAL_S", 0.02)
    said = ""

    def has_said(line: str) -> bool:
        nonlocal said
        said += capsys.readouterr().err
        return f"{line}\n" in said

    with Progress(100) as shown:
        assert has_said("progress 0 100 bytes")
        shown.set("a", 50)
        shown.set("b", 30)
        shown.set("a", 10)
        wait_until(lambda: has_said("progress 40 100 bytes"))
        said = ""
    assert has_said("progress 40 100 bytes")
    assert set(said.splitlines()) == {"progress 40 100 bytes"}


def test_last_line_comes_also_after_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError), Progress(5) as shown:
        shown.set("a", 3)
        raise RuntimeError
    assert capsys.readouterr().err.splitlines()[-1] == "progress 3 5 bytes"
    assert not any("print" in thread.name for thread in threading.enumerate())
