"""Glob patterns that choose among the files of a directory, as the download stage reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase


def selector(
    include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> Callable[[str], bool] | None:
    """Return the test of a relative path, or ``None`` where every path passes.

    Args:
        include: patterns of what counts, empty for all; ``*`` crosses ``/``, ``name/`` stands for
            everything below a directory.
        exclude: of those, patterns of what does not count.
    """
    if not include and not exclude:
        return None
    taken, left = [_whole(each) for each in include], [_whole(each) for each in exclude]

    def wants(path: str) -> bool:
        is_taken = not taken or any(fnmatchcase(path, pattern) for pattern in taken)
        return is_taken and not any(fnmatchcase(path, pattern) for pattern in left)

    return wants


def _whole(pattern: str) -> str:
    return f"{pattern}*" if pattern.endswith("/") else pattern
