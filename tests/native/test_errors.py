from __future__ import annotations

import errno

import pytest

from mmtrt.native.errors import NativeError, report


def raising(error: BaseException):
    def stage() -> None:
        raise error

    return stage


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (NativeError("no", code="RUN999", fix="yes"), 2, "error[RUN999]: no\n  fix: yes\n"),
        (ModuleNotFoundError(name="torch.onnx"), 5, "the Python package torch is not installed"),
        (OSError(errno.ENOSPC, "No space left", "/x"), 1, "error[HST201]: /x: No space left\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_mistakes_have_a_status_and_no_traceback(
    error: BaseException, status: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(raising(error)) == status
    assert text in capsys.readouterr().err


@pytest.mark.parametrize(
    "error", [ValueError("bug"), ModuleNotFoundError(name="mmtrt.x"), FileNotFoundError(2, "bug")]
)
def test_bugs_are_told_in_a_line_and_keep_their_traceback_in_the_log(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(raising(error)) == 1
    out, err = capsys.readouterr()
    assert "error[RUN299]: " in err and type(error).__name__ in err and "Traceback" not in err
    assert "Traceback (most recent call last)" in out
