"""What a process prints, on its way into the log: credentials are taken out before it is written.

A line is held until its end, so that a credential that arrives in two pieces is seen whole; of a
line that never ends, only as much as a credential can be long.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator
from pathlib import Path

from mmtrt.redaction import LONGEST, Redactor

CHUNK_BYTES = 1 << 16
HOLD_BYTES = 4 * CHUNK_BYTES
"""Most of an unfinished line that is held back (*chosen*)."""
_POLL_MS = 200


class Filter:
    """A stream of bytes without its credentials."""

    def __init__(self, redactor: Redactor) -> None:
        """Take out what ``redactor`` knows."""
        self._redactor = redactor
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        """Take the next piece and return what may be written now."""
        end = max(chunk.rfind(b"\n"), chunk.rfind(b"\r")) + 1
        if end:
            whole, self._held = self._held + chunk[:end], chunk[end:]
            return self._redactor.data(whole)
        self._held += chunk
        if len(self._held) < HOLD_BYTES:
            return b""
        return self._cut()

    def close(self) -> bytes:
        """Return the rest."""
        rest, self._held = self._held, b""
        return self._redactor.data(rest)

    def _cut(self) -> bytes:
        """Give up the beginning of a line without end, but no part of a credential."""
        cut = len(self._held) - LONGEST
        # What begins before the cut is whole: it could not be as long as what follows.
        cut = min([cut, *(start for start, end in self._spans() if start < cut < end)])
        given, self._held = self._held[:cut], self._held[cut:]
        return self._redactor.data(given)

    def _spans(self) -> Iterator[tuple[int, int]]:
        return self._redactor.spans(self._held)


class Pump(threading.Thread):
    """Copies one stream of a process into its log, through a :class:`Filter`."""

    def __init__(self, source: int, log: Path, redactor: Redactor) -> None:
        """Read the descriptor ``source``, which this object closes, until its end.

        Raises:
            OSError: if the log cannot be written; the descriptor is closed then.
        """
        super().__init__(name=f"log {log.name}", daemon=True)
        self._source, self._filter = source, Filter(redactor)
        try:
            self._log = log.open("ab", buffering=0)
        except OSError:
            os.close(source)
            raise
        self._ended = threading.Event()

    def run(self) -> None:
        """Copy until the last writer has closed its end, or :meth:`finish` was called."""
        os.set_blocking(self._source, False)
        poll = select.poll()
        poll.register(self._source, select.POLLIN | select.POLLHUP)
        try:
            while True:
                # Asked before the read: what was written before the end is then read for certain.
                ended = self._ended.is_set()
                if poll.poll(0 if ended else _POLL_MS):
                    chunk = os.read(self._source, CHUNK_BYTES)
                    if not chunk:
                        break
                    self._log.write(self._filter.feed(chunk))
                elif ended:
                    break
            self._log.write(self._filter.close())
        except OSError:
            # A full disk must not stop the process, which a full pipe would; publishing tells.
            self._drain(poll)
        finally:
            os.close(self._source)
            self._log.close()

    def finish(self) -> None:
        """Copy what is there and end, whoever still holds the other end open."""
        self._ended.set()
        self.join()

    def discard(self) -> None:
        """Let go of both ends without having started."""
        os.close(self._source)
        self._log.close()

    def _drain(self, poll: select.poll) -> None:
        while True:
            ended = self._ended.is_set()
            if poll.poll(0 if ended else _POLL_MS):
                try:
                    if not os.read(self._source, CHUNK_BYTES):
                        return
                except OSError:
                    return
            elif ended:
                return
