"""uvicorn around the application: where it listens, and how it ends."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edge_retrieval.errors import ConfigError, MissingExtraError
from edge_retrieval.server.app import app_of
from edge_retrieval.server.desk import Desk
from edge_retrieval.server.settings import ServeSettings

if TYPE_CHECKING:
    import uvicorn

BACKLOG = 128
GRACE = 3
"""Seconds that answers on their way have when the server is stopped."""


def serve(folder: Path, settings: ServeSettings, *, ready: Callable[[str], None]) -> None:
    """Serve a register until the process is interrupted.

    Args:
        folder: The register.
        settings: How.
        ready: Called with the address, without a token, once requests are taken.

    Raises:
        ConfigError: The port is in use, or there is no such host.
        MissingExtraError: uvicorn is not installed.
        RegisterError: The register cannot be opened.
    """
    desk = Desk(folder, settings)
    listening = listen(settings.host, settings.port)
    try:
        desk.start()
        # Told from within: before, a signal to end would meet uvicorn half begun.
        server = server_of(desk, lambda: ready(address_of(listening, settings.host)))
        server.run(sockets=[listening])
    finally:
        desk.stop()
        listening.close()


def server_of(desk: Desk, ready: Callable[[], None] = lambda: None) -> uvicorn.Server:
    """Return uvicorn around the application of a desk; `ready` is called once it answers.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import uvicorn
    except ModuleNotFoundError as error:
        if error.name != "uvicorn":
            raise
        raise MissingExtraError.of("serving the page", "web") from error
    config = uvicorn.Config(
        app_of(desk, ready),
        access_log=False,
        log_level="warning",
        http="h11",
        loop="asyncio",
        ws="none",
        lifespan="on",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE,
    )
    return uvicorn.Server(config)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens there.

    Raises:
        ConfigError: The port is in use or not allowed, or there is no such host.
    """
    try:
        family, kind, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ConfigError(
            f"no such host: {host!r}", hint="give an address of this machine: 127.0.0.1"
        ) from error
    listening = socket.socket(family, kind)
    try:
        if hasattr(socket, "SO_REUSEADDR") and not hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(where)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"{host}:{port} cannot be listened on: {error.strerror}",
            hint="name another port, or --port 0 for any that is free",
        ) from error
    return listening


def address_of(listening: socket.socket, host: str) -> str:
    """Return the address that a browser on this machine opens."""
    port = listening.getsockname()[1]
    shown = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{shown}]:{port}/" if ":" in shown else f"http://{shown}:{port}/"
