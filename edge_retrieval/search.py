"""From drawings to ranked designs: each design is worth as much as its best pair of figures."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.arrays import Embeddings
from edge_retrieval.drawing import FigureImage, cut_sheet, whole_sheet
from edge_retrieval.encoder import Encoder, embed_figures
from edge_retrieval.errors import ConfigError, RegisterError
from edge_retrieval.filters import Chosen, Filters
from edge_retrieval.index import Index
from edge_retrieval.plan import Plan
from edge_retrieval.plan import plan as make_plan
from edge_retrieval.register import DesignRecord, FigureRecord, Register

if TYPE_CHECKING:
    from edge_retrieval.calibration import Strength


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
        strength: How rarely a design that is unrelated to the query has such a score; None where
            the register's bundle does not tell.
    """

    rank: int
    score: float
    design: DesignRecord
    figure: FigureRecord
    query_figure: int
    strength: Strength | None = None


@dataclass(frozen=True)
class SearchResult:
    """The answer to one query.

    Attributes:
        query: What was searched with.
        hits: Best first; equal scores in the order in which the designs were registered.
        compared_designs: How many designs the filters left.
        compared_figures: How many figures they have.
        exact: Whether every one of them was compared, or ruled out by a bound that cannot err;
            else a graph chose whom to compare.
        filters: What was asked for: "in 06-01 before 2021-03-04"; "" if nothing was.
        undated: Designs left out only because their date is not known.
        notes: What the filters were to leave out and is not here, a sentence each.
        overlap: Share of the ten nearest that the graph finds, measured on this register when it
            was made; None: exact, or not measured.
        plan: How it was answered.
        seconds: Time by stage; the stages are shared by all queries of one call.
    """

    query: Query
    hits: list[Hit]
    compared_designs: int
    compared_figures: int
    exact: bool
    filters: str = ""
    undated: int = 0
    notes: tuple[str, ...] = ()
    overlap: float | None = None
    plan: Plan | None = field(default=None, compare=False, repr=False)
    seconds: dict[str, float] = field(default_factory=dict, compare=False)

    @property
    def chance(self) -> str:
        """Say how many of so many unrelated designs look as close; "" where nobody measured it."""
        told: dict[str, int] = {}  # how many -> the last rank of which it is said
        for hit in (*self.hits[:1], *self.hits[-1:]):
            if hit.strength is not None:
                told[hit.strength.among(self.compared_designs)] = hit.rank
        if not told:
            return ""
        first, *others = (f"{many} as rank {rank}" for many, rank in told.items())
        said = ", ".join([first.replace(" as ", " as close as ", 1), *others])
        among = f"{self.compared_designs:,} unrelated designs hold"
        if self.compared_designs == 1:
            among = "1 unrelated design holds"
        return f"by chance {among} {said}"

    @property
    def statement(self) -> str:
        """Say what was searched and how well, in one line."""
        designs = f"{self.compared_designs:,}"
        figures = f"{self.compared_figures:,} figure{'s' * (self.compared_figures != 1)}"
        among = f"{self.filters} ({figures})".strip()
        unknown = f"; left out: {self.undated:,} of unknown date" if self.undated else ""
        if not self.compared_designs:
            return f"no design was left to compare with: none {self.filters}{unknown}".rstrip(": ")
        if self.exact and self.compared_designs == 1:
            among = f"{self.filters or 'there'} ({figures})"
            return f"compared exactly with the only design {among}{unknown}"
        if self.exact:
            return f"compared exactly with all {designs} designs {among}{unknown}"
        measured = (
            ""
            if self.overlap is None
            else f", overlap@10 {self.overlap:.2f} measured on this register"
        )
        return f"approximate{measured}: a graph over {designs} designs {among}{unknown}"


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
    filters: Filters | None = None,
    exclude_self: bool = False,
    exact: bool = False,
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
        filters: Which designs to compare; None: all.
        exclude_self: Leave out the figures that come from the same file as the query.
        exact: Let no graph choose whom to compare, however large the register.
        index: Of the register's vectors; None: what costs least.

    Returns:
        An answer for each query, in their order.

    Raises:
        ConfigError: `k` below 1; a design, applicant or source that is not there; no date.
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
    filters = filters or Filters()
    chosen = filters.choose(register.columns, where=register.folder)
    started = time.perf_counter()
    if embeddings is None:
        embeddings = _embed(register, queries, encoder)
    embedded = time.perf_counter()
    figures = sum(map(len, embeddings))
    if index is None:
        how = make_plan(register, chosen, figures=figures, exact=exact)
    else:
        how = Plan(index, chosen.rows is not None or hasattr(index, "bounds"), None, ())
    ranking = _Ranking(register, how, chosen, filters.text)
    results = [
        ranking.answer(query, vectors, k, exclude_self=exclude_self)
        for query, vectors in zip(queries, embeddings, strict=True)
    ]
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
    """What is searched, and how."""

    register: Register
    plan: Plan
    chosen: Chosen
    filters: str

    def answer(
        self, query: Query, vectors: Embeddings, k: int, *, exclude_self: bool
    ) -> SearchResult:
        """Rank the designs for one query; `vectors` (F, D) are those of its figures."""
        columns, chosen = self.register.columns, self.chosen
        without = same = np.empty(0, np.int64)
        if exclude_self and query.sha256:
            same = self.register.rows_of_sheet(query.sha256)
        if chosen.rows is None:
            without = np.union1d(columns.dead_rows, same)
            same = np.setdiff1d(same, columns.dead_rows)
        else:
            without = same = np.intersect1d(same, chosen.rows)
        best = self._best_pairs(vectors, k, without)
        figures = self.register.figures(row for _, row, _ in best)
        bundle = self.register.bundle
        figures_of_design = chosen.figures / max(1, chosen.designs)
        hits = [
            Hit(
                rank=rank,
                score=score,
                design=self.register.design(figure.design),
                figure=figure,
                query_figure=number,
                strength=bundle.calibration.strength(
                    score, dim=bundle.dim, figures=len(vectors), others=figures_of_design
                )
                if bundle.calibration is not None
                else None,
            )
            for rank, ((score, _, number), figure) in enumerate(
                zip(best, figures, strict=True), start=1
            )
        ]
        return SearchResult(
            query,
            hits,
            compared_designs=chosen.designs - self._emptied(same),
            compared_figures=chosen.figures - len(same),
            exact=self.plan.exact,
            filters=self.filters,
            undated=chosen.undated,
            notes=chosen.notes,
            overlap=self.plan.overlap,
            plan=self.plan,
        )

    def _best_pairs(
        self, vectors: Embeddings, k: int, without: NDArray[np.int64]
    ) -> list[tuple[float, int, int]]:
        """Return score, row and figure of the query for the best pair of each of the k designs.

        A design among the best k is among the best k of that figure of the query which it is most
        like.
        """
        ranked = self.plan.searcher.rank(
            vectors,
            k,
            rows=self.chosen.rows,
            without=without,
            groups=self.register.columns.design_of,
        )
        rows = np.concatenate([found for found, _ in ranked])
        scores = np.concatenate([cosines for _, cosines in ranked])
        numbers = np.repeat(np.arange(len(ranked)), [len(found) for found, _ in ranked])
        designs = self.register.columns.design_of[rows]
        best: dict[int, tuple[float, int, int]] = {}
        for i in np.lexsort((numbers, rows, -scores)).tolist():
            best.setdefault(int(designs[i]), (float(scores[i]), int(rows[i]), int(numbers[i])))
            if len(best) == k:
                break
        return list(best.values())

    def _emptied(self, rows: NDArray[np.int64]) -> int:
        """Return how many designs have no other figure among the candidates than `rows`."""
        if not len(rows):
            return 0
        design_of = self.register.columns.design_of
        designs, gone = np.unique(design_of[rows], return_counts=True)
        others = design_of if self.chosen.rows is None else design_of[self.chosen.rows]
        return sum(
            int(np.count_nonzero(others == design)) == count
            for design, count in zip(designs.tolist(), gone.tolist(), strict=True)
        )
