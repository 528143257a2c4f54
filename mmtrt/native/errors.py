"""What a stage tells its user when it cannot go on, and the exit status that goes with it.

The codes used below ``mmtrt.native`` start at 2xx of their area, so that they never meet the codes
of the rules, which are checked before any stage starts.
"""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Callable

from mmtrt.errors import MmtrtError

_PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "onnx",
    "onnxscript",
    "onnxruntime",
)
_NOT_OURS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR),
)
_MOST_WORDS = 500
_EXIT_FAILED = 1
_EXIT_HOST = 5
_EXIT_INTERRUPTED = 130


class NativeError(MmtrtError):
    """A flag, a file or a request that a native stage cannot accept; exit status 2."""


class HostLacks(NativeError):
    """This machine lacks what the stage needs; exit status 5."""

    exit_code = _EXIT_HOST


def report(stage: Callable[[], None]) -> int:
    """Run a stage and return its exit status; what went wrong is told on stderr.

    A traceback, of which people who run a stage make nothing, goes to stdout: the stage's other
    log.

    Returns:
        0; 2 for a ``NativeError``, 5 for ``HostLacks`` and for a package that is not installed, 1
        when the disk refuses or for anything unexpected, 130 when interrupted.
    """
    try:
        stage()
    except NativeError as mistake:
        if isinstance(mistake.__cause__, Exception):
            traceback.print_exception(mistake, file=sys.stdout)
        return _say(mistake, mistake.exit_code)
    except ModuleNotFoundError as missing:
        package = (missing.name or "").partition(".")[0]
        if package not in (*_PACKAGES, "numpy", "PIL", "blake3"):
            return _unexpected(missing)
        return _say(
            NativeError(
                f"the Python package {package} is not installed",
                code="ENV201",
                why="this stage runs in a process of its own with the native extra",
                fix="pip install 'mmtrt[native]'",
            ),
            _EXIT_HOST,
        )
    except OSError as refused:
        if refused.errno not in _NOT_OURS:
            return _unexpected(refused)
        return _say(
            NativeError(f"{refused.filename or 'the output'}: {refused.strerror}", code="HST201"),
            _EXIT_FAILED,
        )
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001 # told with its place, whatever it is
        return _unexpected(error)
    return 0


def said(error: BaseException) -> str:
    """Return the name and the words of an exception in one line, shortened."""
    return f"{type(error).__name__}: {in_one_line(error, _MOST_WORDS)}".removesuffix(": ")


def in_one_line(error: BaseException, most: int | None = 200) -> str:
    """Return the words of an exception in one line of at most so many characters."""
    return " ".join(str(error).split())[:most]


def _unexpected(error: Exception) -> int:
    """Tell an exception that no stage foresees."""
    traceback.print_exception(error, file=sys.stdout)
    sys.stdout.flush()
    place = traceback.extract_tb(error.__traceback__)[-1]
    return _say(
        NativeError(
            said(error),
            code="RUN299",
            why=f"mmtrt did not expect it, at {place.filename}:{place.lineno} in {place.name}",
            fix="look at the traceback in stdout.log beside this log, and report it",
        ),
        _EXIT_FAILED,
    )


def _say(error: NativeError, status: int) -> int:
    print(error.render(), file=sys.stderr)  # noqa: T201 - this is the one place that prints errors
    return status
