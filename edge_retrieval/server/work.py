"""What workers do with the register: search it, count in it, show what it holds."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import numpy as np

from edge_retrieval.arrays import Embeddings
from edge_retrieval.encoder import embed_figures
from edge_retrieval.errors import ConfigError
from edge_retrieval.evidence import to_json
from edge_retrieval.evidence.design_page import design_as_data, figures_of
from edge_retrieval.facets import facets, facets_as_data
from edge_retrieval.filters import Filters, find_design
from edge_retrieval.query import (
    Query,
    choose_figures,
    query_of_design,
    same_views,
    together,
)
from edge_retrieval.register import Register
from edge_retrieval.search import SearchResult, search
from edge_retrieval.server.answers import Refused
from edge_retrieval.server.drawings import Drawing
from edge_retrieval.server.held import HeldRegister
from edge_retrieval.sources.design import counted
from edge_retrieval.store import Address, require_held
from edge_retrieval.taxonomy import locarno_title

Data = dict[str, Any]


@dataclass(frozen=True)
class Search:
    """One search, as it was asked for.

    Attributes:
        views: Drawings and their figures, from 1; () if a design is the query.
        design: Its number; "" if drawings are.
        k: How many designs to return.
        filters: Which are compared.
        exclude_self: Leave out figures of the very same file.
    """

    views: tuple[tuple[Drawing, int], ...] = ()
    design: str = ""
    k: int = 24
    filters: Filters = field(default_factory=Filters)
    exclude_self: bool = False


# ------------------------------------------------------------------ searching


def find(held: HeldRegister, asked: Search) -> SearchResult:
    """Search.

    Raises:
        EdgeRetrievalError: What is asked for is not there; see `search.search`.
    """
    register = held.register
    if not register.designs_count:
        raise Refused(
            HTTPStatus.CONFLICT,
            "the register is empty",
            "add designs: edge-ret index DESIGNS -o REGISTER",
        )
    if asked.design:
        query, embeddings = query_of_design(register, asked.design)
    else:
        query, embeddings = _query_of(held, asked.views)
    with held.finding() as store:
        [result] = search(
            register,
            [query],
            held.encoder,
            embeddings=[embeddings],
            k=asked.k,
            filters=asked.filters,
            exclude_self=asked.exclude_self,
            store=store,
        )
    return result


def answer_search(held: HeldRegister, asked: Search) -> Data:
    """Search, and return the answer with the pictures of all hits and the counts of what is left.

    Raises:
        EdgeRetrievalError: See `find`.
    """
    begun = time.perf_counter()
    result = find(held, asked)
    [told] = to_json([result], register=held.register)["results"]
    for hit in told["hits"]:
        hit["epoch"] = held.epoch
        del hit["where"]  # whoever asks over the network need not know the folders of this machine
        hit["pictures"] = pictures_of(held, hit["design"])
    told["facets"] = count_facets(held, asked.filters)
    told["seconds"] = round(time.perf_counter() - begun, 6)
    return dict(told)


def _query_of(held: HeldRegister, views: Sequence[tuple[Drawing, int]]) -> tuple[Query, Embeddings]:
    """Return the query of some figures of drawings, and its embeddings (F, D)."""
    queries, vectors = [], []
    for drawing, run in itertools.groupby(views, key=lambda view: view[0]):
        places = [place for _, place in run]
        queries.append(choose_figures(drawing.query, places))
        if drawing.fingerprint == held.encoder.fingerprint:
            vectors.append(drawing.embeddings[np.array(places) - 1])
        else:  # the folder has become another register
            vectors.append(embed_figures(held.encoder, queries[-1].figures))
    return together(queries), np.concatenate(vectors)


# ------------------------------------------------------------------ what the register holds


def pictures_of(held: HeldRegister, number: str) -> list[Data]:
    """Return the figures of a design, in order, each with the address of its picture."""
    figures = figures_of(held.register, number)
    same = same_views(held.register.read_rows([figure.row for figure in figures]))
    return [
        {
            "figure": figure.figure,
            "row": figure.row,
            "description": figure.description,
            "picture": address(held, figure.row),
            "same_as": None if earlier is None else figures[earlier].figure,
        }
        for figure, earlier in zip(figures, same, strict=True)
    ]


def address(held: HeldRegister, row: int) -> str:
    """Return the address of the picture of a row."""
    return f"/api/pictures/{held.epoch}/{row}.png"


def picture(held: HeldRegister, epoch: str, row: int) -> bytes:
    """Return the PNG of the figure in a row.

    Raises:
        Refused: There is no such row, or rows have other numbers by now.
    """
    if held.epoch != epoch or row >= len(held.register.vectors):
        held.renew(at_once=True)  # another thread may have seen what came since
    if held.epoch != epoch:
        raise Refused(HTTPStatus.GONE, "the register has been rewritten since", "search again")
    if row >= len(held.register.vectors):
        raise Refused(HTTPStatus.NOT_FOUND, "no such picture", "search again")
    return held.register.picture(row)


def status(held: HeldRegister) -> Data:
    """Return what the register is."""
    register = held.register
    return {
        "name": register.name,
        "designs": register.designs_count,
        "figures": register.figures_count,
        "bundle": register.bundle.name,
        "fingerprint": register.bundle.fingerprint,
        "precision": register.bundle.precision,
        "snapshot": register.snapshot,
    }


def require_in_store(
    held: HeldRegister, address: Address, stamp: dict[str, Any] | None
) -> dict[str, Any]:
    """Return what a collection was filled from, if it holds what the register does.

    Args:
        held: The register.
        address: Of the collection.
        stamp: What it was filled from; None: there is no such collection.

    Raises:
        StoreMismatchError: It holds something else.
        BundleMismatchError: It holds the vectors of another encoder.
    """
    register = held.register
    return require_held(
        register, address, stamp, lambda: held.once("contents", lambda: register.contents)
    )


def list_designs(held: HeldRegister, within: str, offset: int, limit: int) -> Data:
    """Return some designs of a class, or of all, by their numbers.

    Raises:
        TaxonomyError: No design is in such a class.
    """
    columns = held.register.columns
    chosen = Filters(classes=[within] if within else ()).choose(columns, where=held.register.folder)
    rows = held.register.living_rows() if chosen.rows is None else chosen.rows
    drawn = np.zeros(len(columns.alive), bool)
    drawn[columns.design_of[rows]] = True
    places = columns.by_number[drawn[columns.by_number]]
    shown = places[offset : offset + limit].tolist()
    return {
        "total": len(places),
        "designs": [_listed(held, columns.number(place)) for place in shown],
    }


def _listed(held: HeldRegister, number: str) -> Data:
    figures = figures_of(held.register, number)
    first = address(held, figures[0].row) if figures else None
    return {**_design(held.register, number), "picture": first}


def _design(register: Register, number: str) -> Data:
    design = register.design(number)
    return {
        "number": design.number,
        "title": design.title,
        "locarno": design.locarno,
        "locarno_title": locarno_title(design.locarno) if design.locarno else None,
        "published": design.published,
        "filed": design.filed,
        "applicants": list(design.applicants),
        "figures": design.figures_count,
    }


def show_design(held: HeldRegister, number: str) -> Data:
    """Return all that is known of a design, its number in any spelling.

    Raises:
        Refused: There is none, or more than one may be meant.
    """
    columns = held.register.columns
    try:
        found = columns.number(find_design(columns, number, where=held.register.folder))
    except ConfigError as error:
        told = str(error).replace(f"{held.register.folder}: ", "")
        raise Refused(HTTPStatus.NOT_FOUND, told, error.hint) from error
    known = design_as_data(held.register, found)
    fields = ("labels", "locarno_edition", "uspc", "source", "stated_figures")
    return {
        **_design(held.register, found),
        **{name: known[name] for name in fields},
        "descriptions": list(held.register.design(found).descriptions),
        "epoch": held.epoch,
        "pictures": pictures_of(held, found),
    }


def count_facets(held: HeldRegister, filters: Filters) -> Data:
    """Return what the filters leave, counted by class, year, applicant and source.

    Raises:
        EdgeRetrievalError: A filter names what is not there.
    """
    found = held.once(filters, lambda: facets(held.register, filters))
    designs = counted(found.compared_designs, "design")
    return {**facets_as_data(found), "statement": f"{designs} {filters.text}".strip()}
