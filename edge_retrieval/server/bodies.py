"""Bodies of requests: received in memory, up to a limit, and never longer than they go on."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from http import HTTPStatus
from typing import Any

from edge_retrieval.errors import LIES
from edge_retrieval.human import human_bytes
from edge_retrieval.server.answers import JSON, ClientGone, Refused, busy

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

PATIENCE = 10
"""Times as long as for a part of a body it is waited for all of it."""

JSON_BYTES = 2**20
"""Of a body of JSON, at most: flags and notes of a whole search fit well."""


class Budget:
    """Bytes that all bodies may take together. For the one thread of the event loop.

    Args:
        limit: In bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    @contextlib.contextmanager
    def of(self, count: int) -> Iterator[None]:
        """Keep room for a body until it has been dealt with.

        Raises:
            Refused: There is none just now.
        """
        if self.used + count > self.limit and self.used:
            raise busy(1)
        self.used += count
        try:
            yield
        finally:
            self.used -= count


def told_length(headers: Mapping[str, str], limit: int) -> int:
    """Return how many bytes a body will have at most, before it is received.

    Raises:
        Refused: More than `limit` are announced.
    """
    text = headers.get("content-length", "")
    if not (text.isascii() and text.isdecimal()):
        return limit
    if len(text) > 18 or int(text) > limit:
        raise too_large(limit)
    return int(text)


async def read_body(receive: Receive, *, limit: int, stalled: float) -> bytes:
    """Receive a body; stop at the limit, whatever was announced.

    Args:
        receive: Of ASGI.
        limit: Bytes, at most.
        stalled: Seconds to wait for the next of them; for all `PATIENCE` times as many.

    Raises:
        Refused: There are more, or none for too long.
        ClientGone: Who sends it has gone.
    """
    data = bytearray()
    more = True
    latest = asyncio.get_running_loop().time() + PATIENCE * stalled
    while more:
        now = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(min(stalled, latest - now)):
                message = await receive()
        except TimeoutError:
            raise Refused(
                HTTPStatus.REQUEST_TIMEOUT,
                "the body does not come, or too slowly",
                "send it again",
                {"connection": "close"},
            ) from None
        if message["type"] == "http.disconnect":
            raise ClientGone
        data += message.get("body", b"")
        if len(data) > limit:
            raise too_large(limit)
        more = message.get("more_body", False)
    return bytes(data)


def too_large(limit: int) -> Refused:
    """Say that a body has too many bytes."""
    return Refused(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"larger than {human_bytes(limit)}",
        "save a drawing in black and white, at a lower resolution or a page at a time",
    )


async def read_json(
    receive: Receive, headers: Mapping[str, str], *, budget: Budget, stalled: float
) -> Any:
    """Receive a body of JSON.

    Raises:
        Refused: It is of another kind, too large, or no JSON; or there is no room for it.
    """
    if headers.get("content-type", "").split(";")[0].strip().casefold() != JSON:
        raise Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "the body is not said to be JSON",
            f"send it with the header Content-Type: {JSON}",
        )
    limit = told_length(headers, JSON_BYTES)
    with budget.of(limit):
        data = await read_body(receive, limit=limit, stalled=stalled)
    try:
        return json.loads(data)
    except LIES as error:
        raise Refused(
            HTTPStatus.BAD_REQUEST, "the body is no JSON", f"send an object ({error})"[:200]
        ) from error
