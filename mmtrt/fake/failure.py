"""How a stand-in stops: with the exit status and the kind of message of the real tool."""

from __future__ import annotations


class ToolFailure(Exception):
    """The tool stops with a Python exception, as the real one would.

    Args:
        kind: class of the exception that the real tool raises.
        message: its text.
    """

    exit_code = 1

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message

    def render(self) -> str:
        """Return what appears on stderr."""
        last = f"{self.kind}: {self.message}" if self.message else self.kind
        return f"Traceback (most recent call last):\n  (stand-in: no frames)\n{last}"


class UsageFailure(ToolFailure):
    """The command line is refused before anything is read.

    Args:
        text: the whole of what appears on stderr.
    """

    exit_code = 2

    def __init__(self, text: str) -> None:
        super().__init__("UsageError", text)

    def render(self) -> str:
        """Return what appears on stderr."""
        return self.message.rstrip("\n")


def require(condition: object, kind: str, message: str = "") -> None:
    """Stop unless ``condition`` holds."""
    if not condition:
        raise ToolFailure(kind, message)
