"""What stands before every request: whose it is, and which headers every answer has.

A page elsewhere on the web can make a browser send requests to this machine. It cannot read the
answers, but it could make us work, and by a name that it lets point here (DNS rebinding) it could
read them, too. So the name in `Host` must be ours, and who asks for work must be our own page or no
page at all.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

from edge_retrieval.server.answers import Answer, ClientGone, Refused, busy
from edge_retrieval.server.bodies import Receive
from edge_retrieval.server.settings import ServeSettings, is_loopback

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' blob: data:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
HEADERS = {
    "content-security-policy": "; ".join(f"{name} {value}" for name, value in POLICY.items()),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cache-control": "no-store",
}
"""Of every answer, errors included; an answer may bring its own in their place."""

READING = ("GET", "HEAD")
AT_ONCE = 1024
"""Requests that are dealt with at the same time."""

ANY = ("0.0.0.0", "::", "")
"""Hosts that mean: on all addresses of this machine."""


class Guard:
    """ASGI middleware; the outermost.

    Args:
        app: What it guards.
        settings: Host and token.
    """

    def __init__(self, app: App, settings: ServeSettings) -> None:
        self.app = app
        self.settings = settings
        self._at_once = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        answering = _Answering(send)
        self._at_once += 1
        try:
            if self._at_once > AT_ONCE:
                raise busy(1)
            answer = self._checked(scope)
            if answer is None:
                await self.app(scope, receive, answering)
            else:
                await send_answer(answer, answering)
        except Refused as refused:
            await send_answer(refused.answer, answering)
        except ClientGone:
            pass  # nobody is there to be told
        except Exception:
            traceback.print_exc(file=sys.stderr)
            if not answering.begun:
                await send_answer(_unexpected().answer, answering)
        finally:
            self._at_once -= 1

    def _checked(self, scope: Scope) -> Answer | None:
        """Return what is answered in place of the app, if anything is.

        Raises:
            Refused: The request is not for us, not from us, or without the token.
        """
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        hosts = [value for name, value in scope["headers"] if name.lower() == b"host"]
        if len(hosts) != 1 or not self._is_ours(headers["host"]):
            raise Refused(
                HTTPStatus.FORBIDDEN,
                "this name is not of this server",
                "open the address that edge-ret serve printed",
            )
        _require_own_page(scope["method"], headers)
        return self._check_token(scope, headers) if self.settings.token else None

    def _is_ours(self, host: str) -> bool:
        name = name_of(host)
        if name is None:
            return False
        listening = self.settings.host.casefold()
        if is_loopback(name) or name == listening:
            return True
        if listening not in ANY:
            return False
        own = socket.gethostname().casefold()
        return name in (own, f"{own}.local") or _is_address(name)

    def _check_token(self, scope: Scope, headers: Mapping[str, str]) -> Answer | None:
        cookie = f"edge_ret_{(scope.get('server') or ('', 0))[1]}"
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        if scope["path"] == "/" and scope["method"] == "GET" and "token" in query:
            if not self._is_token(query["token"]):
                raise _no_token()
            return Answer(
                _GO_ON,
                "text/html; charset=utf-8",
                headers={
                    "set-cookie": f"{cookie}={self.settings.token}; HttpOnly; SameSite=Strict;"
                    " Path=/"
                },
            )
        kind, _, given = headers.get("authorization", "").partition(" ")
        bearer = [given.strip()] if kind.casefold() == "bearer" else []
        if not self._is_token([*bearer, *_cookies(headers.get("cookie", ""), cookie)]):
            raise _no_token()
        return None

    def _is_token(self, given: Iterable[str]) -> bool:
        token = self.settings.token.encode()
        return any([hmac.compare_digest(one.encode(errors="replace"), token) for one in given])


class _Answering:
    """Sends; adds the headers of every answer, and knows whether one has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            given = list(message.get("headers", ()))
            names = {name.lower() for name, _ in given}
            own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            message["headers"] = [*given, *((n, v) for n, v in own if n not in names)]
        await self._send(message)


async def send_answer(answer: Answer, send: Send) -> None:
    """Send an answer by ASGI."""
    headers = {
        "content-type": answer.kind,
        "content-length": str(len(answer.body)),
        **answer.headers,
    }
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": pairs})
    await send({"type": "http.response.body", "body": answer.body})


def name_of(host: str) -> str | None:
    """Return the name or the address in a `Host` header, without its port; None: it is none."""
    try:
        parts = urlsplit(f"//{host}")
        name, _ = parts.hostname, parts.port
    except ValueError:
        return None
    if not name or parts.netloc != host or "@" in host:
        return None
    return name.casefold().removesuffix(".")


def _require_own_page(method: str, headers: Mapping[str, str]) -> None:
    """Refuse what another site makes a browser send.

    A link to the page may be followed from anywhere; all else must come from our own page, or from
    a program that is no browser.
    """
    follows_link = method in READING and headers.get("sec-fetch-mode") == "navigate"
    foreign = headers.get("sec-fetch-site", "none") not in ("same-origin", "none")
    if foreign and not follows_link:
        raise _other_site()
    origin = headers.get("origin")
    if method in READING or origin is None:
        return
    try:
        parts = urlsplit(origin)
    except ValueError:
        raise _other_site() from None
    if parts.scheme not in ("http", "https") or parts.netloc != headers["host"]:
        raise _other_site()


def _cookies(text: str, name: str) -> list[str]:
    """Return the values of a cookie; those of other programs on this machine stand beside it."""
    parts = (part.strip().partition("=") for part in text.split(";"))
    return [value for found, _, value in parts if found == name]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _other_site() -> Refused:
    return Refused(
        HTTPStatus.FORBIDDEN, "another site asked for this", "open the page itself and ask there"
    )


def _no_token() -> Refused:
    return Refused(
        HTTPStatus.UNAUTHORIZED,
        "the token is missing or another one",
        "open the address with ?token=... that edge-ret serve printed, or send the header"
        " Authorization: Bearer TOKEN",
        {"www-authenticate": "Bearer"},
    )


def _unexpected() -> Refused:
    return Refused(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "something went wrong here",
        "what it was stands where edge-ret serve runs",
    )


_GO_ON = b"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>edge-ret</title>
<meta http-equiv="refresh" content="0; url=/"></head>
<body><p><a href="/">Go on to the page</a></p></body>
</html>
"""
