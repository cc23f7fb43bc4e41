"""How many designs there are by class, year, applicant and source: what a filter would leave.

Each of these is counted under all other filters, so that another class, or another year, can be
chosen by what it would give.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.filters import Filters
from edge_retrieval.register import Register
from edge_retrieval.register.columns import Columns
from edge_retrieval.taxonomy import LabelPath, locarno_title

APPLICANTS = 200
"""So many applicants are told, those with most designs."""


class ClassCount(NamedTuple):
    """A class and how many designs are in it, those of its subclasses among them.

    Attributes:
        code: Its label: "06-01".
        title: Its heading; "" if it is not of Locarno.
        designs: How many.
        children: Its subclasses, in the order of their codes.
    """

    code: str
    title: str
    designs: int
    children: tuple[ClassCount, ...]


class Facets(NamedTuple):
    """What there is.

    Attributes:
        compared_designs: Designs that all filters together leave.
        classes: The tree, in the order of the codes; designs of unknown class are in none.
        years: (year, designs), ascending; of publication, else of filing.
        applicants: (name, designs), most designs first.
        sources: (name, designs), most designs first.
        unknown: Designs of unknown "class", "year".
    """

    compared_designs: int
    classes: tuple[ClassCount, ...]
    years: tuple[tuple[int, int], ...]
    applicants: tuple[tuple[str, int], ...]
    sources: tuple[tuple[str, int], ...]
    unknown: dict[str, int]


def facets(register: Register, filters: Filters | None = None) -> Facets:
    """Count the designs of a register.

    Args:
        register: Whose.
        filters: What else is asked for; None: nothing.

    Raises:
        TaxonomyError, ConfigError: As `Filters.choose`.
    """
    filters = filters or Filters()
    columns = register.columns

    def left(without: Sequence[str]) -> NDArray[np.bool_]:
        """Return (D,): the designs that the filters but those named leave."""
        kept = {name: value for name, value in filters._asdict().items() if name not in without}
        chosen = Filters(**kept).choose(columns, where=register.folder)
        rows = columns.design_of
        drawn = np.zeros(len(columns.alive), bool)
        drawn[rows if chosen.rows is None else rows[chosen.rows]] = True
        return drawn & columns.alive

    in_class = left(("classes", "not_classes"))
    in_year = left(("before", "after"))
    years = np.where(columns.published > 0, columns.published, columns.filed)[in_year] // 10_000
    by_year = zip(*np.unique(years[years > 0], return_counts=True), strict=True)
    by_applicant = left(("applicants", "not_applicants"))
    by_source = np.bincount(
        columns.source[left(("sources", "not_sources"))], minlength=len(columns.sources)
    )
    return Facets(
        compared_designs=int(np.count_nonzero(left(()))),
        classes=_tree(columns, in_class),
        years=tuple((int(year), int(count)) for year, count in by_year),
        applicants=_most(columns.applicants, _per_applicant(columns, by_applicant))[:APPLICANTS],
        sources=_most(columns.sources, by_source),
        unknown={
            "class": int(np.count_nonzero(columns.node[in_class] == 0)),
            "year": int(np.count_nonzero(years == 0)),
        },
    )


def facets_as_data(found: Facets) -> dict[str, Any]:
    """Return facets as plain data: `compared_designs`, `classes` (a tree), `years`, `applicants`,
    `sources`, `unknown`; each with its `count`."""

    def branch(one: ClassCount) -> dict[str, Any]:
        children = [branch(child) for child in one.children]
        return {
            "code": one.code,
            "title": one.title,
            "count": one.designs,
            "children": children,
        }

    return {
        "compared_designs": found.compared_designs,
        "classes": [branch(one) for one in found.classes],
        "years": [{"year": year, "count": count} for year, count in found.years],
        "applicants": [{"name": name, "count": count} for name, count in found.applicants],
        "sources": [{"name": name, "count": count} for name, count in found.sources],
        "unknown": dict(found.unknown),
    }


def _most(names: Sequence[str], counts: NDArray[np.int64]) -> tuple[tuple[str, int], ...]:
    told = [(name, int(count)) for name, count in zip(names, counts, strict=True) if count and name]
    return tuple(sorted(told, key=lambda one: (-one[1], one[0])))


def _per_applicant(columns: Columns, designs: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return how many of the designs each applicant has."""
    owner = np.repeat(np.arange(len(designs)), np.diff(columns.applicant_starts))
    mine = designs[owner]
    many = max(1, len(columns.applicants))
    pairs = np.unique(owner[mine] * many + columns.applicant_of[mine])  # a design counts once
    return np.bincount(pairs % many, minlength=len(columns.applicants))


def _tree(columns: Columns, designs: NDArray[np.bool_]) -> tuple[ClassCount, ...]:
    """Return the classes that hold any of the designs."""
    counts: dict[LabelPath, int] = defaultdict(int)
    per_node = np.bincount(columns.node[designs], minlength=len(columns.paths))
    for path, count in zip(columns.paths, per_node.tolist(), strict=True):
        for depth in range(1, len(path) + 1) if count else ():
            counts[path[:depth]] += count
    below: dict[LabelPath, list[LabelPath]] = defaultdict(list)
    for path in sorted(counts):
        below[path[:-1]].append(path)

    def grown(parent: LabelPath) -> tuple[ClassCount, ...]:
        return tuple(
            ClassCount(path[-1], _heading(path, below[path]), counts[path], grown(path))
            for path in list(below[parent])
        )

    return grown(())


def _heading(path: LabelPath, children: Sequence[LabelPath]) -> str:
    """Return a class's heading, if it is Locarno's: "01" may be anything else."""
    subclass = path[-1] if len(path) > 1 else next((child[1] for child in children), "")
    if not re.fullmatch(rf"{re.escape(path[0])}-\d\d", subclass):
        return ""
    return locarno_title(path[-1]) or ""
