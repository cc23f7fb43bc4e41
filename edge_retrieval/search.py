"""From drawings to ranked designs: each design is worth as much as its best pair of figures."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.arrays import Embeddings
from edge_retrieval.drawing import FigureImage, cut_sheet, whole_sheet
from edge_retrieval.encoder import Encoder, embed_figures
from edge_retrieval.errors import ConfigError, RegisterError
from edge_retrieval.index import FlatIndex, Index
from edge_retrieval.register import DesignRecord, FigureRecord, Register


@dataclass(frozen=True)
class Query:
    """One drawing to search with.

    Attributes:
        name: What the user calls it: a path.
        figures: The figures on it, at least one.
        sha256: Of the file's bytes; "" if there is no file.
    """

    name: str
    figures: Sequence[FigureImage]
    sha256: str = ""


@dataclass(frozen=True)
class Hit:
    """One design in the answer.

    Attributes:
        rank: From 1.
        score: Largest cosine of any figure of the query to any figure of the design.
        design: The design.
        figure: The figure of it that was most like the query.
        query_figure: Index of the figure of the query that it was most like.
    """

    rank: int
    score: float
    design: DesignRecord
    figure: FigureRecord
    query_figure: int


@dataclass(frozen=True)
class SearchResult:
    """The answer to one query.

    Attributes:
        query: What was searched with.
        hits: Best first; equal scores in the order in which the designs were registered.
        compared_designs: How many designs the filters left.
        compared_figures: How many figures they have.
        exact: Whether every one of them was compared; else the graph chose whom to compare.
        seconds: Time by stage; the stages are shared by all queries of one call.
    """

    query: Query
    hits: list[Hit]
    compared_designs: int
    compared_figures: int
    exact: bool
    seconds: dict[str, float] = field(default_factory=dict, compare=False)

    @property
    def statement(self) -> str:
        """Say what was searched and how well, in one line."""
        designs, figures = f"{self.compared_designs:,}", f"{self.compared_figures:,}"
        if self.exact and self.compared_designs == 1:
            return f"compared exactly with the only design there ({figures} figures)"
        if self.exact:
            return f"compared exactly with all {designs} designs ({figures} figures)"
        return f"approximate: a graph over {designs} designs ({figures} figures)"


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
    return Query(name=name, figures=figures, sha256=hashlib.sha256(data).hexdigest())


def search(
    register: Register,
    queries: Sequence[Query],
    encoder: Encoder | None = None,
    *,
    embeddings: Sequence[Embeddings] | None = None,
    k: int = 10,
    within: Sequence[str] = (),
    exclude_self: bool = False,
    exclude_designs: Iterable[str] = (),
    index: Index | None = None,
) -> list[SearchResult]:
    """Rank the designs of a register by how much they look like each query.

    Args:
        register: Where to search.
        queries: What to search with; all are embedded together.
        encoder: Of the register's bundle; not needed where `embeddings` are given.
        embeddings: ``(F, D)`` for each query, from such an encoder: one row for each of its
            figures. None: `encoder` makes them.
        k: How many designs to return; all there are, if there are fewer.
        within: Classes to search in: "06", "06-01", a name of any level. () means all.
        exclude_self: Leave out the figures that come from the same file as the query.
        exclude_designs: Numbers of designs to leave out.
        index: Of the register's vectors; None: the graph where there is one, else exact.

    Returns:
        An answer for each query, in their order.

    Raises:
        ConfigError: `k` below 1.
        RegisterError: The register is empty or damaged.
        BundleMismatchError: The encoder is not the register's.
        TaxonomyError: No design of the register is in such a class.
    """
    if k < 1:
        raise ConfigError(f"k is {k}", hint="ask for 1 design or more")
    if not len(register.vectors):
        raise RegisterError(
            f"{register.folder}: the register is empty",
            hint=f"add designs: edge-ret index DESIGNS -o {register.folder}",
        )
    started = time.perf_counter()
    if embeddings is None:
        embeddings = _embed(register, queries, encoder)
    embedded = time.perf_counter()
    rows = register.rows_of(within) if within else None
    always = register.rows_of_designs(exclude_designs)
    search_in = index or register.index()
    exact = rows is not None or isinstance(search_in, FlatIndex)
    results = []
    for query, vectors in zip(queries, embeddings, strict=True):
        same = register.rows_of_sheet(query.sha256) if exclude_self and query.sha256 else always
        ranking = _Ranking(register, search_in, rows, np.union1d(always, same))
        results.append(ranking.answer(query, vectors, k, exact=exact))
    ended = time.perf_counter()
    for result in results:
        result.seconds.update(embed=embedded - started, search=ended - embedded)
    return results


def _embed(
    register: Register, queries: Sequence[Query], encoder: Encoder | None
) -> list[Embeddings]:
    """Embed the figures of all queries together; return (F, D) for each."""
    if encoder is None:
        raise ValueError("search needs an encoder, or embeddings")
    register.require(encoder)
    figures = [figure for query in queries for figure in query.figures]
    rows = iter(embed_figures(encoder, figures))
    return [
        np.array([next(rows) for _ in query.figures], np.float32).reshape(-1, encoder.dim)
        for query in queries
    ]


@dataclass(frozen=True)
class _Ranking:
    """What is searched: the figures of a register, less a filter, less some rows."""

    register: Register
    index: Index
    rows: NDArray[np.int64] | None  # candidates; None: all
    excluded: NDArray[np.int64]

    def answer(self, query: Query, vectors: Embeddings, k: int, *, exact: bool) -> SearchResult:
        """Rank the designs for one query; `vectors` (F, D) are those of its figures."""
        best = self._best_pairs(vectors, k)
        self.register.check_rows(row for _, row, _ in best)
        figures = self.register.figures(row for _, row, _ in best)
        hits = [
            Hit(
                rank=rank,
                score=score,
                design=self.register.design(figure.design),
                figure=figure,
                query_figure=number,
            )
            for rank, ((score, _, number), figure) in enumerate(
                zip(best, figures, strict=True), start=1
            )
        ]
        compared_designs, compared_figures = self.register.compared(self.rows, self.excluded)
        return SearchResult(query, hits, compared_designs, compared_figures, exact)

    def _best_pairs(self, vectors: Embeddings, k: int) -> list[tuple[float, int, int]]:
        """Return score, row and figure of the query for the best pair of each of the k designs.

        Figures are asked for until each figure of the query has met k designs: a design that none
        of them has met by then is worse than k others.
        """
        total = len(self.index) if self.rows is None else len(self.rows)
        ask = min(total, 4 * k + len(self.excluded))
        while True:
            found, scores = self.index.search(vectors, ask, rows=self.rows)  # (F, ask)
            keep = ~np.isin(found, self.excluded)
            unique, places = np.unique(found, return_inverse=True)
            designs = self.register.designs_of(unique)[places.reshape(found.shape)]
            if ask == total or all(
                len(np.unique(row[kept])) >= k for row, kept in zip(designs, keep, strict=True)
            ):
                break
            ask = min(total, 4 * ask)
        best: dict[int, tuple[float, int, int]] = {}
        number, column = np.nonzero(keep)
        order = np.lexsort((number, found[keep], -scores[keep]))
        for i in order.tolist():
            f, c = number[i], column[i]
            best.setdefault(int(designs[f, c]), (float(scores[f, c]), int(found[f, c]), int(f)))
            if len(best) == k:
                break
        return list(best.values())
