"""The application: the table of routes, the page, and the guard around them."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from edge_retrieval.errors import MissingExtraError
from edge_retrieval.server.answers import Answer, Refused, json_answer
from edge_retrieval.server.desk import Asked, Desk
from edge_retrieval.server.guard import POLICY, Guard
from edge_retrieval.server.openapi import api_page, openapi
from edge_retrieval.server.routes import ROUTES
from edge_retrieval.server.settings import ServeSettings
from edge_retrieval.server.web_files import FIRST, read_web_files, web_file

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    Endpoint = Callable[[Request], Awaitable[Response]]

TYPES = {"figure": "int", "row": "int", "number": "path"}
"""Parameters of paths that are no plain text; a number of a design may hold a slash."""


def create_app(register_folder: Path | str, *, settings: ServeSettings | None = None) -> Starlette:
    """Return the page and its API for a register.

    Args:
        register_folder: The register.
        settings: How it is served.

    Raises:
        MissingExtraError: Starlette is not installed.
    """
    return app_of(Desk(Path(register_folder), settings or ServeSettings()))


def app_of(desk: Desk, ready: Callable[[], None] = lambda: None) -> Starlette:
    """Return the application of a desk; its workers start with it, if they have not, and end.

    Args:
        desk: Answers.
        ready: Called once it can be asked, and be told to end.
    """
    try:
        from starlette.applications import Starlette
        from starlette.middleware import Middleware
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("starlette", "anyio"):
            raise
        raise MissingExtraError.of("serving the page", "web") from error

    @contextlib.asynccontextmanager
    async def working(_: Starlette) -> AsyncIterator[None]:
        desk.start()
        ready()
        try:
            yield
        finally:
            desk.stop()

    app = Starlette(
        routes=_routes(desk),
        lifespan=working,
        middleware=[Middleware(Guard, settings=desk.settings)],
        exception_handlers={
            HTTPStatus.NOT_FOUND: _unknown,
            HTTPStatus.METHOD_NOT_ALLOWED: _unknown,
        },
    )
    app.router.redirect_slashes = False
    return app


def _routes(desk: Desk) -> list[Route]:
    from starlette.routing import Route

    def typed(path: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda m: f"{{{m[1]}:{TYPES.get(m[1], 'str')}}}", path)

    routes = [
        Route(typed(route.path), _endpoint(desk, route.handler), methods=[route.method])
        for route in ROUTES
    ]
    files = read_web_files()
    told = json_answer(openapi(desk.settings))
    about = _page(api_page(desk.settings))
    fixed: dict[str, Callable[[Asked], Answer]] = {
        "/api/openapi.json": lambda _: told,
        "/api": lambda _: about,
        "/": lambda _: web_file(files, FIRST),
        "/web/{name:path}": lambda asked: web_file(files, asked.path["name"]),
    }
    for path, give in fixed.items():

        async def handler(_: Desk, asked: Asked, give: Callable[[Asked], Answer] = give) -> Answer:
            return give(asked)

        routes.append(Route(path, _endpoint(desk, handler), methods=["GET"]))
    return routes


def _endpoint(desk: Desk, handler: Callable[[Desk, Asked], Awaitable[Answer]]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        asked = Asked(request.receive, request.headers, request.query_params, request.path_params)
        try:
            answer = await handler(desk, asked)
        except Refused as refused:
            answer = refused.answer
        return _response(answer)

    return endpoint


def _response(answer: Answer) -> Response:
    from starlette.responses import Response

    headers = {**answer.headers, "content-type": answer.kind}
    return Response(answer.body, answer.status, headers)


async def _unknown(_: Request, error: Exception) -> Response:
    """Tell that there is no such route, or not with this method."""
    from typing import cast

    found = cast("HTTPException", error)
    told = HTTPStatus(found.status_code).phrase.lower()
    refused = Refused(found.status_code, told, "/api tells what there is", found.headers)
    return _response(refused.answer)


def _page(html: str) -> Answer:
    """Return a page of ours: its own style, named by its hash, is the only one that applies."""
    style = html[html.index("<style>") + len("<style>") : html.index("</style>")]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    policy = {**POLICY, "script-src": "'none'", "style-src": f"'sha256-{digest}'"}
    told = "; ".join(f"{name} {value}" for name, value in policy.items())
    return Answer(
        html.encode(), "text/html; charset=utf-8", headers={"content-security-policy": told}
    )
