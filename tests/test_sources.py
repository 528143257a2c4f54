"""An output of older code is no hit: a stage whose code changed has another ``VERSION``."""

from __future__ import annotations

import pytest

from mmtrt.stages import STAGE_TYPES
from tools import sources
from tools.sources import Line


def test_code_that_changed_has_another_version():
    old, new = sources.recorded(), sources.current()
    told = "raise VERSION in mmtrt/stages, then: make sources; or where they write the same as"
    names = " ".join(name for name in new if old.get(name) != new[name])
    assert old == new, f"{told} before: make sources SAME='{names}'"


def test_every_stage_has_a_line():
    assert sources.ROOTS.keys() >= STAGE_TYPES.keys()


@pytest.fixture
def changed(tmp_path, monkeypatch):
    """Return a function that writes a little mmtrt and tells the digest of its stage."""
    files = {
        "mmtrt/native/convert.py": "from mmtrt.native.parts import one\ndef main(): return one()\n",
        "mmtrt/native/parts.py": "TWO = 2\ndef one(): return TWO\ndef other(): return 3\n",
    }
    monkeypatch.setattr(sources, "ROOT", tmp_path)

    def digest(**changes: str) -> str:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(changes.get(path.stem, text))
        for cached in (sources.path_of, sources.read):
            cached.cache_clear()
        return sources.digest(("mmtrt.native.convert:main",))

    yield digest
    for cached in (sources.path_of, sources.read):
        cached.cache_clear()


@pytest.mark.parametrize(
    ("parts", "is_other"),
    [
        ("TWO = 3\ndef one(): return TWO", True),
        ("TWO = 2\ndef one(): return TWO + 1", True),
        ("def one(): return two()\ndef two(): return 2", True),
        ("TWO = 2\ndef one(): return TWO\ndef other(): return 99", False),
        (
            '"""Docs."""\nTWO: int = 2  # why\ndef one() -> int:\n    """Docs."""\n    return TWO',
            False,
        ),
    ],
)
def test_what_counts_as_another_code(changed, parts, is_other):
    assert (changed(parts=parts) != changed()) is is_other


def test_words_of_an_error_are_no_output(changed):
    one, two = (f"TWO = 2\ndef one():\n    raise ValueError({n!r})" for n in ("a", "b"))
    assert changed(parts=one) == changed(parts=two)


def test_a_change_under_the_same_version_is_refused_unless_it_is_said_to_be_none(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(sources, "RECORD", tmp_path / "sources.yaml")
    new = {"run": Line(2, "b" * 16), "write": Line(2, "d" * 16)}
    monkeypatch.setattr(sources, "current", lambda: new)
    old = {"run": Line(2, "a" * 16), "write": Line(1, "c" * 16)}
    sources.write(old)
    assert sources.main([]) == 1
    assert sources.recorded() == {"run": old["run"], "write": new["write"]}
    assert "make sources SAME='run'" in capsys.readouterr().out
    assert sources.main(["run"]) == 0
    assert sources.recorded() == new
