from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mmtrt.artifacts.faults import explain, explained, quoted
from mmtrt.errors import ArtifactError


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "ART150"),
        (errno.EDQUOT, "ART150"),
        (errno.EFBIG, "ART151"),
        (errno.EROFS, "ART152"),
        (errno.EACCES, "ART153"),
        (errno.EPERM, "ART153"),
        (errno.EXDEV, "ART154"),
        (errno.ENOLCK, "ART155"),
    ],
)
def test_says_what_why_where_and_what_to_do(number: int, code: str, tmp_path: Path) -> None:
    error = explain(OSError(number, os.strerror(number)), "write", tmp_path / "x")
    assert error.code == code
    assert error.message == f"cannot write {tmp_path / 'x'}: {os.strerror(number)}"
    assert error.at and error.why and error.fix
    assert "paths.store" in error.fix or number == errno.EXDEV


def test_names_the_file_that_was_refused_and_what_was_meant(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError) as caught, explained("store", tmp_path):
        (tmp_path / "a/b").mkdir()
    assert caught.value.code == "ART154"
    assert caught.value.message == f"cannot store {tmp_path}: No such file or directory"
    assert caught.value.at == str(tmp_path / "a/b")


def test_other_errors_pass() -> None:
    with pytest.raises(ValueError, match="x"), explained("store", "x"):
        raise ValueError("x")


def test_a_name_cannot_break_a_message() -> None:
    assert quoted("a\nerror[X]: b\x1b[31m\udc80") == r"a\nerror[X]: b\x1b[31m\udc80"
    assert quoted("naïve 模型") == "naïve 模型"
