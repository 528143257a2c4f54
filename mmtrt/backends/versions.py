"""Version numbers against conditions such as ``>=1.0,<1.2``."""

from __future__ import annotations

import re
from collections.abc import Callable

_COMPARE: dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a[: len(b)] == b,
    "!=": lambda a, b: a[: len(b)] != b,
}


def is_within(version: str, condition: str) -> bool:
    """Return whether a version meets every part of a condition.

    Only the release counts (``1.2.0rc3`` is ``1.2.0``): conditions tell lines of releases apart.

    Raises:
        ValueError: for a condition that cannot be read.
    """
    release = _numbers(version)
    for part in condition.split(","):
        found = re.fullmatch(r"\s*(<=|>=|==|!=|<|>)\s*([\d.]+)\s*", part)
        if found is None:
            raise ValueError(f"{part!r} is no condition on a version, such as <1.2")
        if not _COMPARE[found[1]](release, _numbers(found[2])):
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"[\d.]+", version)
    return tuple(int(part) for part in (found[0] if found else "0").split(".") if part)
