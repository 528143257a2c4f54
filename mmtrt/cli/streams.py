"""Standard output and standard error without credentials, for every verb at once."""

from __future__ import annotations

import codecs
import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Any, TextIO, cast

from mmtrt.redaction import Redactor, of_environment


def take_every_character() -> None:
    """Let both streams escape what their encoding lacks, and pass bytes of paths on."""
    codecs.register_error("mmtrt", _shown)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="mmtrt")


def _shown(error: UnicodeError) -> tuple[str | bytes, int]:
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


class _Redacted:
    """A text stream that masks what is written to it; everything else is the stream's own."""

    def __init__(self, stream: TextIO, redactor: Redactor) -> None:
        self._stream, self._redactor = stream, redactor

    def write(self, text: str) -> int:
        """Write a text; a credential is expected to come in one piece."""
        self._stream.write(self._redactor.text(text))
        return len(text)

    def writelines(self, lines: Sequence[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._stream)


def _print_traceback(
    redactor: Redactor,
    kind: type[BaseException],
    error: BaseException,
    at: TracebackType | None,
) -> None:
    import traceback

    sys.stderr.write(redactor.text("".join(traceback.format_exception(kind, error, at))))


@contextmanager
def redacted(words: Sequence[str]) -> Iterator[None]:
    """Mask what is printed meanwhile.

    Args:
        words: the command line; its URLs give credentials away.
    """
    before = sys.stdout, sys.stderr
    redactor = of_environment(words)
    sys.stdout = cast("TextIO", _Redacted(before[0], redactor))
    sys.stderr = cast("TextIO", _Redacted(before[1], redactor))
    try:
        yield
    except BaseException:
        # A traceback shows what was typed, too; it is printed when nothing here runs any more.
        if sys.excepthook is sys.__excepthook__:
            sys.excepthook = partial(_print_traceback, redactor)
        raise
    finally:
        sys.stdout, sys.stderr = before
