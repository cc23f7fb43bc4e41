"""What `edge-ret serve` may be told, and the limits that it keeps."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from edge_retrieval.drawing import MAX_PIXELS
from edge_retrieval.errors import ConfigError
from edge_retrieval.provenance import available_cores
from edge_retrieval.store import read_address

LEAST_TOKEN = 12
"""Characters of a token, at least: it is all that keeps others out."""

MEBIBYTE = 2**20


@dataclass(frozen=True)
class ServeSettings:
    """How the page is served.

    Attributes:
        host: Where to listen: an address or a name of this machine. Any but a loopback one needs a
            token.
        port: Where to listen; 0: one that is free.
        token: What a client must show; "": nothing.
        workers: Threads that read drawings and search, each with a session of its own; 0: as many
            as cores, at most 2.
        queue: Searches that may wait for a worker; one more is told to come again.
        readings: Pictures, lists and counts that may wait for their thread.
        bytes: Of one uploaded file, at most.
        bodies: Bytes of all requests that are being received or read at once, at most.
        pixels: Of one page; the reader refuses more.
        sheet_pixels: Of all pages of one file.
        figures: Of one drawing, at most.
        drawings: Kept in memory; the one that was not used longest goes.
        drawing_bytes: Of all drawings kept, at most.
        views: In one search, at most.
        k: Designs in one answer, at most.
        stalled: Seconds without a byte of a request, after which it is given up.
        store: What finds candidates: "milvus:http://host:19530"; "": the register itself.
        answering: Seconds that who asks for the status waits for the store.
    """

    host: str = "127.0.0.1"
    port: int = 8577
    token: str = ""
    workers: int = 0
    queue: int = 64
    readings: int = 512
    bytes: int = 32 * MEBIBYTE
    bodies: int = 128 * MEBIBYTE
    pixels: int = MAX_PIXELS
    sheet_pixels: int = 4 * MAX_PIXELS
    figures: int = 100
    drawings: int = 200
    drawing_bytes: int = 256 * MEBIBYTE
    views: int = 32
    k: int = 200
    stalled: float = 30.0
    store: str = ""
    answering: float = 1.0

    def __post_init__(self) -> None:
        if self.token and len(self.token) < LEAST_TOKEN:
            raise ConfigError(
                f"a token of {len(self.token)} characters can be guessed",
                hint=f"give {LEAST_TOKEN} or more, or leave --token out: one is made",
            )
        if re.search(r"[^A-Za-z0-9._~-]", self.token):
            raise ConfigError(
                "the token has characters that an address cannot hold",
                hint="use letters, digits and . _ ~ -",
            )
        if not self.is_local and not self.token:
            raise ConfigError(
                f"{self.host} can be reached by others, and there is no token",
                hint="give a token, or listen on 127.0.0.1",
            )
        if self.pixels > MAX_PIXELS:
            raise ConfigError(
                f"pages of {self.pixels} pixels", hint=f"the reader takes at most {MAX_PIXELS}"
            )
        if self.store:
            read_address(self.store)
        for name in ("workers", "queue", "port"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}", hint="give 0 or more")

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)

    @property
    def threads(self) -> int:
        """How many workers there are."""
        return self.workers or min(2, available_cores())


def is_loopback(host: str) -> bool:
    """Tell whether a name or an address means this machine alone."""
    if host.casefold() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
