"""What each route does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from edge_retrieval import __version__
from edge_retrieval.filters import Filters
from edge_retrieval.provenance import now
from edge_retrieval.server import work
from edge_retrieval.server.answers import KEEP, Answer, Refused, json_answer
from edge_retrieval.server.bodies import read_body, read_json, told_length
from edge_retrieval.server.checking import wrong
from edge_retrieval.server.desk import Asked, Desk
from edge_retrieval.server.drawings import clean_name
from edge_retrieval.server.exporting import export as write_export
from edge_retrieval.server.receiving import read_drawing
from edge_retrieval.server.schemas import requests
from edge_retrieval.server.work import Search

LISTED = 200
"""Designs in one piece of a list, at most."""

SUFFIX = {"record": "json", "html": "html", "csv": "csv"}
YES = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}


async def status(desk: Desk, asked: Asked) -> Answer:
    """Tell what is served, and its limits."""
    told = await desk.read(asked, work.status)
    limits = ("bytes", "pixels", "drawings", "k", "views", "figures")
    return json_answer(
        {
            **told,
            "version": __version__,
            "limits": {name: getattr(desk.settings, name) for name in limits},
            "token": bool(desk.settings.token),
            "store": await _store(desk, asked),
        }
    )


async def _store(desk: Desk, asked: Asked) -> Mapping[str, Any] | None:
    """Tell how the store is that finds candidates; None: there is none."""
    if desk.store is None:
        return None
    address, stamp = desk.store.address, None
    told: dict[str, Any] = {"ready": True, "error": None, "hint": None}
    try:
        found = await desk.stamp()
        stamp = await desk.read(asked, lambda held: work.require_in_store(held, address, found))
    except Refused as refused:
        if "retry-after" in refused.headers:
            raise
        desk.let_go_of_store()
        told = {"ready": False, "error": refused.error, "hint": refused.hint}
    return {
        "collection": address.collection,
        "server": desk.store.server,
        "local": address.is_local,
        **told,
        "index": stamp["index"] if stamp else None,
        "overlap": stamp.get("overlap") if stamp else None,
    }


async def send_drawing(desk: Desk, asked: Asked) -> Answer:
    """Receive a drawing, cut it and keep it."""
    settings = desk.settings
    name = clean_name(asked.query.get("name", ""))
    whole = YES.get(asked.query.get("whole", "").casefold())
    if whole is None:
        raise Refused(HTTPStatus.BAD_REQUEST, "whole is neither true nor false", "leave it out")
    length = told_length(asked.headers, settings.bytes)
    desk.require_room()
    with desk.bodies.of(length):
        data = await read_body(asked.receive, limit=length, stalled=settings.stalled)
        drawing = await desk.search(
            asked, lambda held: read_drawing(held, data, name, settings, whole=whole)
        )
    desk.drawings.add(drawing)
    return json_answer(
        {
            "id": drawing.id,
            "name": name,
            "sha256": drawing.query.sha256,
            "figures": [
                {
                    "figure": number,
                    "width": figure.pixels.shape[1],
                    "height": figure.pixels.shape[0],
                    "turned": figure.turned,
                    "picture": f"/api/drawings/{drawing.id}/{number}.png",
                }
                for number, figure in enumerate(drawing.query.figures, start=1)
            ],
        }
    )


async def show_drawing(desk: Desk, asked: Asked) -> Answer:
    """Return a figure of a drawing."""
    drawing = desk.drawings.get(asked.path["id"])
    number = asked.path["figure"]
    if not 1 <= number <= len(drawing.pictures):
        raise _no_figure(drawing.name, len(drawing.pictures))
    # An unpublished drawing must not outlive the server in a browser's cache.
    return Answer(drawing.pictures[number - 1], "image/png")


async def search(desk: Desk, asked: Asked) -> Answer:
    """Rank the designs."""
    desk.require_room()
    given = await _body(desk, asked, "Search")
    wanted = _search_of(desk, given)
    return await desk.search(asked, lambda held: json_answer(work.answer_search(held, wanted)))


async def facets(desk: Desk, asked: Asked) -> Answer:
    """Count what the filters leave."""
    given = await _body(desk, asked, "FacetsOf")
    filters = _filters_of(given)
    return await desk.read(asked, lambda held: json_answer(work.count_facets(held, filters)))


async def list_designs(desk: Desk, asked: Asked) -> Answer:
    """List designs, a piece at a time."""
    within = asked.query.get("class", "").strip()
    offset = _number(asked.query, "offset", 0, 10**12)
    limit = _number(asked.query, "limit", 60, LISTED)
    return await desk.read(
        asked, lambda held: json_answer(work.list_designs(held, within, offset, limit))
    )


async def show_design(desk: Desk, asked: Asked) -> Answer:
    """Tell all that is known of a design."""
    number = asked.path["number"]
    return json_answer(await desk.read(asked, lambda held: work.show_design(held, number)))


async def picture(desk: Desk, asked: Asked) -> Answer:
    """Return a figure of the register."""
    epoch, row = asked.path["epoch"], asked.path["row"]
    return _png(await desk.read(asked, lambda held: work.picture(held, epoch, row)))


async def export(desk: Desk, asked: Asked) -> Answer:
    """Search again, and return a file that tells of it."""
    desk.require_room()
    given = await _body(desk, asked, "Export")
    wanted = _search_of(desk, given["search"])
    kind = given["format"]
    body, media = await desk.search(
        asked,
        lambda held: write_export(
            held,
            wanted,
            kind,
            flags=given.get("flags", {}),
            notes=given.get("notes", ""),
            drawings=given.get("drawings", True),
        ),
    )
    called = wanted.design or (wanted.views[0][0].name if wanted.views else "")
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", called.rsplit(".", 1)[0]).strip("-")[:60]
    name = "-".join(part for part in ("search", now()[:10], plain) if part)
    return Answer(
        body,
        media,
        headers={"content-disposition": f'attachment; filename="{name}.{SUFFIX[kind]}"'},
    )


# ------------------------------------------------------------------ what is asked for


async def _body(desk: Desk, asked: Asked, name: str) -> Mapping[str, Any]:
    """Receive a body of JSON that has the schema of that name."""
    given = await read_json(
        asked.receive, asked.headers, budget=desk.bodies, stalled=desk.settings.stalled
    )
    schemas = requests(desk.settings)
    if (reason := wrong(given, schemas[name], schemas)) is not None:
        raise Refused(HTTPStatus.BAD_REQUEST, reason, "see /api for what is taken, with an example")
    found: Mapping[str, Any] = given
    return found


def _search_of(desk: Desk, given: Mapping[str, Any]) -> Search:
    """Return the search that a body asks for.

    Raises:
        Refused: It names no query, or two; a drawing that is not kept; a figure that it lacks.
    """
    design = given.get("design", "").strip()
    if bool(design) == ("views" in given):
        raise Refused(
            HTTPStatus.BAD_REQUEST, "what to search with is not clear", "give views, or a design"
        )
    views = []
    for view in given.get("views", ()):
        drawing = desk.drawings.get(view["drawing"])
        if view["figure"] > len(drawing.query.figures):
            raise _no_figure(drawing.name, len(drawing.query.figures))
        views.append((drawing, view["figure"]))
    return Search(
        views=tuple(views),
        design=design,
        k=given.get("k", Search.k),
        filters=_filters_of(given),
        exclude_self=given.get("exclude_self", False),
    )


def _filters_of(given: Mapping[str, Any]) -> Filters:
    asked: Mapping[str, Any] = given.get("filters", {})
    made: dict[str, Any] = {
        name: tuple(one) if isinstance(one, list) else one for name, one in asked.items()
    }
    return Filters(**made)


def _number(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) < 16 and int(text) <= most):
        raise Refused(HTTPStatus.BAD_REQUEST, f"{name} is no number", f"give one from 0 to {most}")
    return int(text)


def _no_figure(name: str, count: int) -> Refused:
    return Refused(
        HTTPStatus.NOT_FOUND, f"{name} has no such figure", f"its figures are 1 to {count}"
    )


def _png(data: bytes) -> Answer:
    return Answer(data, "image/png", headers={"cache-control": KEEP})
