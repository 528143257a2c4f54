"""Tell how many bytes have come in: ``progress <done> <total> bytes`` lines on stderr.

One line at the start, one about every two seconds, one at the end.
"""

from __future__ import annotations

import sys
import threading
from types import TracebackType

INTERVAL_S = 2.0
"""Chosen: alive for a person, small in a log of hours."""


class Progress:
    """Counts bytes by file, from any thread, and prints the sum while the block runs."""

    def __init__(self, total_bytes: int) -> None:
        self._total_bytes = total_bytes
        self._done: dict[str, int] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._printer = threading.Thread(target=self._print_on, daemon=True)

    def set(self, name: str, done_bytes: int) -> None:
        """Say how many bytes of one file are there; the number may also fall."""
        with self._lock:
            self._done[name] = done_bytes

    def __enter__(self) -> Progress:
        """Print the first line and go on printing."""
        self._print()
        self._printer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Print the last line."""
        self._stopped.set()
        self._printer.join()
        self._print()

    def _print_on(self) -> None:
        while not self._stopped.wait(INTERVAL_S):
            self._print()

    def _print(self) -> None:
        with self._lock:
            done = sum(self._done.values())
        sys.stderr.write(f"progress {done} {self._total_bytes} bytes\n")
        sys.stderr.flush()
