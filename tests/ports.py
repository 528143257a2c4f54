"""Ports for servers that are told which one to take."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def reserved_port() -> Iterator[int]:
    """Yield a port of the loopback interface that nobody else is given meanwhile.

    On Linux a bound socket keeps the port from everyone who asks for any, and only a listening one
    from those who ask for this one with SO_REUSEADDR, as servers do (``inet_csk_get_port``).
    """
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        port = int(held.getsockname()[1])
        if sys.platform != "linux":
            held.close()
        yield port
