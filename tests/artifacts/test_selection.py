from __future__ import annotations

import pytest

from mmtrt.artifacts.selection import selector
from mmtrt.tasks.selection import Patterns

CASES = [
    ((), ("*.bin",)),
    (("*.json",), ()),
    (("*.json", "weights/"), ("weights/old/",)),
    (("tokenizer*",), ("*",)),
    (("a?c", "[xy].json"), ()),
]
NAMES = [
    "a.json",
    "sub/a.json",
    "weights/x.bin",
    "weights/old/x.bin",
    "tokenizer.model",
    "x.json",
    "abc",
]


def test_no_patterns_need_no_test() -> None:
    assert selector() is None


@pytest.mark.parametrize(("include", "exclude"), CASES)
def test_agrees_with_the_download_stage(include: tuple[str, ...], exclude: tuple[str, ...]) -> None:
    wants = selector(include, exclude)
    assert wants is not None
    patterns = Patterns(include, exclude)
    assert [wants(name) for name in NAMES] == [patterns.want(name) for name in NAMES]
