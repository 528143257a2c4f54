"""What another program says when something is wrong, and what that means."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Failure:
    """One thing that a program may say before it fails."""

    said: str
    """Regular expression."""
    code: str
    message: str
    """The caller may fill in placeholders, such as git's ``{url}`` and ``{revision}``."""
    fix: str
    is_temporary: bool = False
