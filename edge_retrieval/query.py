"""What is searched with: one drawing, several views of one product, or a registered design."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edge_retrieval.arrays import Embeddings
from edge_retrieval.drawing import FigureImage, cut_sheet, from_png, whole_sheet
from edge_retrieval.errors import ConfigError, RegisterError
from edge_retrieval.filters import find_design
from edge_retrieval.register import Register

SAME = 0.97
"""Cosine from which two figures count as one view drawn twice. Among 804 figures of 104 patents
3 % of the pairs of one patent reach it, and no pair of two."""

NAMED = 3
"""So many files are named in the name of a query of several."""


class QueryFile(NamedTuple):
    """A file that a query comes from.

    Attributes:
        name: What the user calls it: a path.
        sha256: Of its bytes; "" if there is no file.
        figures: How many of its figures are searched with.
        whole: It was taken as one figure, not cut.
        chosen: Which of its figures they are, from 1, in their order; () means all.
    """

    name: str
    sha256: str
    figures: int
    whole: bool = False
    chosen: tuple[int, ...] = ()


@dataclass(frozen=True)
class Query:
    """One product to search with, in one or several views.

    Attributes:
        name: What the user calls it: a path.
        figures: The figures, at least one: a view each.
        sha256: Of the file's bytes; "" if there is no file, or several.
        files: Where the figures come from, in their order; () stands for one file of all.
        design: Number of the registered design that it is; "" if it is none. It is not compared
            with itself.
    """

    name: str
    figures: Sequence[FigureImage]
    sha256: str = ""
    files: tuple[QueryFile, ...] = ()
    design: str = ""

    @property
    def sources(self) -> tuple[QueryFile, ...]:
        """The files, also where there is one of all figures."""
        return self.files or (QueryFile(self.name, self.sha256, len(self.figures)),)

    @property
    def places(self) -> list[tuple[QueryFile, int]]:
        """The file of each figure, and its place among the figures of that file, from 1."""
        return [
            (file, place)
            for file in self.sources
            for place in file.chosen or range(1, file.figures + 1)
        ]


def query_from_bytes(data: bytes, name: str, *, cut: bool = True) -> Query:
    """Read a drawing to search with.

    Args:
        data: An image file, or a PDF with the extra.
        name: What the user calls it, for messages.
        cut: Whether to cut the sheet into its figures; else the whole of it is one figure.

    Raises:
        DrawingError: It cannot be read, or nothing is drawn on it.
    """
    figures = cut_sheet(data, where=name) if cut else [whole_sheet(data, where=name)]
    sha256 = hashlib.sha256(data).hexdigest()
    files = (QueryFile(name, sha256, len(figures), whole=not cut),)
    return Query(name=name, figures=figures, sha256=sha256, files=files)


def choose_figures(query: Query, places: Sequence[int]) -> Query:
    """Leave of a query of one file some of its figures.

    Args:
        query: From `query_from_bytes`, all of its file's figures.
        places: From 1, in the order wanted; at least one.

    Raises:
        ConfigError: It has no such figure.
    """
    [file] = query.sources
    if not places or not all(1 <= place <= len(query.figures) for place in places):
        raise ConfigError(
            f"{file.name}: no figures {list(places)}", hint=f"it has {len(query.figures)}"
        )
    figures = [query.figures[place - 1] for place in places]
    if list(places) == list(range(1, len(query.figures) + 1)):
        return query
    chosen = file._replace(figures=len(figures), chosen=tuple(places))
    return Query(query.name, figures, query.sha256, (chosen,), query.design)


def together(queries: Sequence[Query], name: str | None = None) -> Query:
    """Make several drawings the views of one product.

    Args:
        queries: At least one, from files.
        name: What to call it; None: by the names of the files.

    Raises:
        ConfigError: Nothing to search with.
    """
    if not queries:
        raise ConfigError("no drawing to search with", hint="name at least one")
    if len(queries) == 1 and name is None:
        return queries[0]
    files = tuple(file for query in queries for file in query.sources)
    names = [Path(file.name).name for file in files]
    if len(names) > NAMED:
        names = [*names[: NAMED - 1], f"{len(names) - NAMED + 1} more"]
    return Query(
        name=name or ", ".join(names),
        figures=[figure for query in queries for figure in query.figures],
        sha256=files[0].sha256 if len(files) == 1 else "",
        files=files,
    )


def query_of_design(register: Register, number: str) -> tuple[Query, Embeddings]:
    """Search with a design of the register.

    Args:
        register: That holds it.
        number: In any spelling; see `filters.find_design`.

    Returns:
        The query, and its embeddings `(F, D)` as the register keeps them.

    Raises:
        ConfigError: There is no such design, or more than one may be meant.
        RegisterError: None of its figures could be read.
    """
    place = find_design(register.columns, number, where=register.folder)
    found = register.columns.number(place)
    rows = register.rows_of_design(found)
    if not len(rows):
        raise RegisterError(
            f"{register.folder}: {found} has no figure",
            hint="its sheets could not be read: edge-ret register info tells why",
        )
    figures = []
    for record in register.figures(rows):
        pixels = from_png(register.picture(record.row))
        figures.append(FigureImage(pixels, record.box, record.turned))
    return Query(found, figures, design=found), register.read_rows(rows)


def same_views(vectors: Embeddings) -> list[int | None]:
    """Tell for each figure (N, D) which earlier one it nearly repeats, by its place; None: none."""
    same: list[int | None] = []
    for place, vector in enumerate(vectors):
        kept = [i for i in range(place) if same[i] is None]
        cosines = vectors[kept].astype(np.float64) @ vector
        best = int(cosines.argmax()) if kept else 0
        same.append(kept[best] if kept and cosines[best] >= SAME else None)
    return same
