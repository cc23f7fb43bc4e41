"""What a store leaves out by itself under a filter: an expression in Milvus's own language.

It may leave more than the filter does, never less: of the designs that the store names, the
register's own columns decide which meet the filter. So a part of a filter that cannot be said, or
only at great length, is left out of the expression, and costs a longer list of candidates.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.filters import Chosen, Filters
from edge_retrieval.register.columns import Columns
from edge_retrieval.store.rows import (
    APPLICANT,
    DESIGN,
    MORE,
    SOURCE,
    class_text,
    dates_of,
    fitted,
    path_text,
)

T = TypeVar("T")

MOST = 1_000
"""Names in one list; more are not said."""


def expression_of(columns: Columns, chosen: Chosen, filters: Filters) -> str:
    """Return an expression that every figure of the chosen designs meets; "": all.

    Args:
        columns: Of the register.
        chosen: What `filters` leave.
        filters: What was asked for.
    """
    if chosen.rows is None or not len(chosen.rows):
        return ""
    return " and ".join(_parts(columns, chosen, filters))


def in_class(name: str) -> str:
    """Return the expression for all figures of a class, by its text as the store keeps it."""
    return f"class in {_texts({name})}"


def _parts(columns: Columns, chosen: Chosen, filters: Filters) -> Iterator[str]:
    designs = np.unique(columns.design_of[chosen.rows])
    if filters.classes or filters.not_classes:
        paths = _used(columns.node[designs], columns.paths)
        there = _used(columns.node[columns.alive], columns.paths)
        classes = {class_text(path) for path in paths}
        # By this the store knows which of its parts to search in.
        yield from _among("class", classes, {class_text(path) for path in there})
        under = {path_text(path) for path in there if class_text(path) in classes}
        yield from _among("path", {path_text(path) for path in paths}, under)
    if filters.before is not None or filters.after is not None:
        dates = dates_of(columns)[designs]
        yield f"date >= {dates.min()} and date <= {dates.max()}"
    if filters.sources or filters.not_sources:
        names, here = (
            {fitted(name, SOURCE) for name in _used(places, columns.sources)}
            for places in (columns.source[designs], columns.source[columns.alive])
        )
        yield from _among("source", names, here)
    if filters.applicants:
        asked = [name.strip().casefold() for name in filters.applicants]
        meant = {
            fitted(name, APPLICANT)
            for name in columns.applicants
            if any(part in name.casefold() for part in asked)
        }
        if _can_be_said(meant):
            yield f"array_contains_any(applicants, {_texts({*meant, MORE})})"
    if filters.designs and len(designs) <= MOST:
        numbers = {fitted(columns.number(int(one)), DESIGN) for one in designs}
        if _can_be_said(numbers):
            yield f"design in {_texts(numbers)}"


def _used(places: NDArray[np.integer], names: Sequence[T]) -> list[T]:
    return [names[place] for place in np.unique(places).tolist()]


def _among(field: str, names: set[str], here: set[str]) -> Iterator[str]:
    """Say which of the texts that there are a field may have, or which not: the shorter one."""
    others = here - names
    if others and len(others) < len(names) and _can_be_said(others):
        yield f"{field} not in {_texts(others)}"
    elif others and _can_be_said(names):
        yield f"{field} in {_texts(names)}"


def _can_be_said(names: set[str]) -> bool:
    """Tell whether a list is short, and every reader of its texts takes them alike."""
    return len(names) <= MOST and all(name.isprintable() for name in names)


def _texts(names: set[str]) -> str:
    """Return a list of texts; Milvus reads them as JSON does."""
    return json.dumps(sorted(names), ensure_ascii=False)
