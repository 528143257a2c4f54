"""What a terminal cannot show is escaped, and is no error."""

from __future__ import annotations

import io
import sys

import pytest

from mmtrt.cli import dispatch


@pytest.mark.parametrize(
    ("encoding", "written"),
    [
        ("ascii", b"\\u4f60 \\xe9 \\udcff"),
        ("latin-1", b"\\u4f60 \xe9 \\udcff"),
        ("cp1252", b"\\u4f60 \xe9 \\udcff"),
        ("utf-8", "\u4f60 \xe9 ".encode() + b"\\udcff"),
    ],
)
def test_every_character_can_be_printed(encoding, written, monkeypatch):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    assert dispatch(["\u4f60 \xe9 \udcff"]) == 2
    sys.stderr.flush()
    assert written in sys.stderr.buffer.getvalue()  # type: ignore[attr-defined]
