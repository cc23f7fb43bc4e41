"""The table of routes: what each takes and answers; the documentation is made of it, too.

Each route names its handler; the shapes are those of `schemas`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edge_retrieval.server import handlers
from edge_retrieval.server.answers import Answer
from edge_retrieval.server.checking import Schema
from edge_retrieval.server.desk import Asked, Desk
from edge_retrieval.server.schemas import BOOLEAN, INTEGER, STRING, told

Handler = Callable[[Desk, Asked], Awaitable[Answer]]

PNG = "image/png"
FILE = "application/octet-stream"

BAD = "what was sent cannot be understood, or names what is not there"
GONE = "the register has been rewritten since: search again"
EMPTY = "the register is empty; or the store does not hold what the register does now"
AWAY = (
    "too much is asked at once: come again after the seconds in Retry-After; or, without"
    " Retry-After, the store cannot be reached"
)
BUSY = "too much is asked at once: come again after the seconds in Retry-After"
LARGE = "more bytes than are taken"
KIND = "not of the kind that is taken"
FORGOTTEN = "the drawing is not kept any more: send it again"
SLOW = "the body did not come"
REFUSED = {401: "the token is missing or another one", 403: "the host or the site is another one"}
BROKEN = {500: "something went wrong there"}


@dataclass(frozen=True)
class Route:
    """One route.

    Attributes:
        method: GET or POST.
        path: Starlette's, without types: "/api/drawings/{id}/{figure}.png".
        handler: What it does.
        summary: In one line.
        about: What else there is to know, in sentences.
        parameters: Of the path and behind the question mark: name -> schema.
        takes: Name of the schema of its body; "" none; `FILE` bytes of a file.
        gives: Name of the schema of its answer, or a media type.
        errors: Status -> when.
        example: A body that is taken.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    about: str = ""
    parameters: Mapping[str, Schema] = field(default_factory=dict)
    takes: str = ""
    gives: str = ""
    errors: Mapping[int, str] = field(default_factory=dict)
    example: Any = None


_SEARCH = {
    "views": [{"drawing": "0f3a…", "figure": 1}],
    "k": 24,
    "filters": {"classes": ["06-01"], "before": "2021-03-04"},
}
_JSON_ERRORS = {400: BAD, 408: SLOW, 413: LARGE, 415: KIND}

ROUTES = (
    Route(
        "GET",
        "/api/status",
        handlers.status,
        "What is served",
        "The register, its encoder, the limits that requests must keep, and, where the server was"
        " started with a store, whether that is ready.",
        gives="Status",
        errors={503: BUSY},
    ),
    Route(
        "POST",
        "/api/drawings",
        handlers.send_drawing,
        "Send a drawing",
        "The body is the file itself: PNG, TIFF, JPEG, WebP, BMP, GIF, or PDF. It is cut into its"
        " figures and kept in memory only; of many drawings those that were not used longest go.",
        parameters={
            "name": told(STRING, "what to call it"),
            "whole": told(BOOLEAN, "take it as one figure: do not cut it"),
        },
        takes=FILE,
        gives="Drawing",
        errors={
            400: "it cannot be read, or nothing is drawn on it",
            408: SLOW,
            413: LARGE,
            415: "no image of those kinds",
            501: "a PDF, and the extra that reads it is not installed",
            503: BUSY,
        },
    ),
    Route(
        "GET",
        "/api/drawings/{id}/{figure}.png",
        handlers.show_drawing,
        "A figure of a drawing",
        parameters={"id": STRING, "figure": told(INTEGER, "from 1")},
        gives=PNG,
        errors={404: FORGOTTEN},
    ),
    Route(
        "POST",
        "/api/search",
        handlers.search,
        "Search with views of a product, or with a design of the register",
        "With views, each is a figure of a drawing that was sent before. The score of a design is"
        " the mean of the best and of the average of the views' cosines. The facets count what is"
        " left: each of class, year, applicant and source under all other filters.",
        takes="Search",
        gives="Result",
        errors={
            **_JSON_ERRORS,
            404: "the drawing is not kept any more (send it again), or has no such figure",
            409: EMPTY,
            503: AWAY,
        },
        example=_SEARCH,
    ),
    Route(
        "POST",
        "/api/facets",
        handlers.facets,
        "Count what filters leave",
        "By class, year, applicant (the 200 most frequent) and source; each under all other"
        " filters, so that another one can be chosen by what it would give.",
        takes="FacetsOf",
        gives="Facets",
        errors={**_JSON_ERRORS, 503: BUSY},
        example={"filters": {"classes": ["06"]}},
    ),
    Route(
        "GET",
        "/api/designs",
        handlers.list_designs,
        "List designs by their numbers",
        parameters={
            "class": told(STRING, "only these, with all below: 06 or 06-01"),
            "offset": told({**INTEGER, "minimum": 0, "default": 0}, "so many are left out"),
            "limit": {**INTEGER, "minimum": 0, "maximum": handlers.LISTED, "default": 60},
        },
        gives="Designs",
        errors={400: BAD, 503: BUSY},
    ),
    Route(
        "GET",
        "/api/designs/{number}",
        handlers.show_design,
        "All that is known of a design",
        parameters={"number": told(STRING, "in any spelling: USD0909824, D909,824, 909824")},
        gives="Design",
        errors={404: "no such design, or more than one may be meant", 503: BUSY},
    ),
    Route(
        "GET",
        "/api/pictures/{epoch}/{row}.png",
        handlers.picture,
        "A figure of the register",
        "It never changes under its address; after a compaction of the register there are others.",
        parameters={
            "epoch": told(STRING, "as answers give it"),
            "row": told(INTEGER, "as answers give it"),
        },
        gives=PNG,
        errors={404: "no such picture", 410: GONE, 503: BUSY},
    ),
    Route(
        "POST",
        "/api/export",
        handlers.export,
        "Take a search home",
        "Searches again and returns a file: a record that can be replayed, a report to look at"
        " and print, or the citations as a table.",
        takes="Export",
        gives=FILE,
        errors={
            **_JSON_ERRORS,
            404: "the drawing is not kept any more (send it again), or has no such figure",
            409: EMPTY,
            503: AWAY,
        },
        example={
            "search": _SEARCH,
            "format": "html",
            "flags": {"USD0909824": {"relevant": True, "note": "same legs"}},
            "notes": "searched on request of the applicant",
        },
    ),
)
"""In the order in which the documentation tells them."""

ANYWHERE = {**REFUSED, **BROKEN}
"""Errors that any route may answer: status -> when."""
