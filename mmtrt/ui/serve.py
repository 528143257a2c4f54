"""Serve the application until Ctrl-C."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from pathlib import Path

from mmtrt.errors import HostError

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serve(root: Path, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve past runs.

    Args:
        root: the directory of the runs' records.
        host: address to listen on.
        port: 0 for any that is free.
        ready: told the address once the port is open.

    Raises:
        HostError: HST120 if the address cannot be listened on; HST121 without the web framework.
    """
    try:
        import uvicorn

        from mmtrt.ui.app import make_app
    except ModuleNotFoundError as error:
        raise HostError(
            f"mmtrt ui needs the package {error.name}",
            code="HST121",
            fix="pip install 'mmtrt[ui]'",
        ) from error
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()
    except (OSError, OverflowError) as error:
        listener.close()
        raise HostError(
            f"cannot listen on {host} port {port}: {error}",
            code="HST120",
            fix="mmtrt ui --port 0   # any port that is free",
        ) from error
    taken = listener.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    # Bound to every address of the machine, its name in the address bar may be any.
    hosts = [*LOOPBACK, shown] if is_loopback(host) else ["*"]
    config = uvicorn.Config(
        make_app(root, hosts), log_level="warning", access_log=False, lifespan="off"
    )
    ready(f"http://{shown}:{taken}/")
    with listener:
        uvicorn.Server(config).run(sockets=[listener])
