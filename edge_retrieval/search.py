"""From drawings to ranked designs: a design is worth as much as its figures are like the views."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.answers import Alarm, Hit, SearchResult, ViewMatch
from edge_retrieval.arrays import Embeddings
from edge_retrieval.encoder import Encoder, embed_figures
from edge_retrieval.errors import ConfigError, RegisterError
from edge_retrieval.filters import Chosen, Filters
from edge_retrieval.index import Index
from edge_retrieval.index.stored import all_cosines
from edge_retrieval.index.views import Found, nearest_groups
from edge_retrieval.plan import Plan, Planner, RegisterVectors
from edge_retrieval.plan import plan as make_plan
from edge_retrieval.query import Query, query_from_bytes, query_of_design, same_views, together
from edge_retrieval.register import FigureRecord, Register
from edge_retrieval.voting import VOTERS, ClassVote, vote

if TYPE_CHECKING:
    from edge_retrieval.calibration import Strength

__all__ = [
    "Alarm",
    "Hit",
    "Query",
    "SearchResult",
    "ViewMatch",
    "query_from_bytes",
    "query_of_design",
    "same_views",
    "search",
    "together",
]

MATCH = 1 / 100
"""A view matches a design if at most this share of unrelated designs has a figure so like it."""

ALARM = 1 / 1000
"""A design of another class is very similar if at most this share of unrelated designs is."""

MIRRORED = 0.05
"""A pair is called mirrored if the mirror image's cosine is higher by more than this."""


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
    mirrored: bool | None = None,
    store: Planner | None = None,
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
        mirrored: Whether to tell mirrored pairs, which takes as long again as embedding the query;
            None: of queries of several views. Never without an encoder.
        store: Finds candidates instead of the register, from `store.open_store`; they are scored
            as they always are.

    Returns:
        An answer for each query, in their order.

    Raises:
        ConfigError: `k` below 1; a design, applicant or source that is not there; no date.
        RegisterError: The register is empty or damaged.
        BundleMismatchError: The encoder is not the register's.
        TaxonomyError: No design of the register is in such a class.
        StoreError: The store cannot be reached, or does not hold what the register does.
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
    flipped = [
        _embed_mirrored(register, query, encoder)
        if mirrored or (mirrored is None and len(query.figures) > 1)
        else None
        for query in queries
    ]
    embedded = time.perf_counter()
    figures = sum(map(len, embeddings))
    if index is None:
        how = _plan(register, store, chosen, filters, figures, exact)
    else:
        how = Plan(index, chosen.rows is not None or hasattr(index, "bounds"), None, ())
    ranking = _Ranking(register, how, chosen, filters, exact, store)
    results = [
        ranking.answer(query, vectors, k, exclude_self=exclude_self, flipped=mirror)
        for query, vectors, mirror in zip(queries, embeddings, flipped, strict=True)
    ]
    ended = time.perf_counter()
    for result in results:
        result.seconds.update(embed=embedded - started, search=ended - embedded)
    return results


def _plan(
    register: Register,
    store: Planner | None,
    chosen: Chosen,
    filters: Filters,
    figures: int,
    exact: bool,
) -> Plan:
    if store is None:
        return make_plan(register, chosen, figures=figures, exact=exact)
    return store.plan(register, chosen, filters, figures=figures, exact=exact)


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


def _embed_mirrored(register: Register, query: Query, encoder: Encoder | None) -> Embeddings | None:
    """Embed the mirror images of a query's figures (F, D); None without an encoder or figures."""
    if encoder is None or not query.figures:
        return None
    register.require(encoder)
    return embed_figures(
        encoder,
        [replace(f, pixels=np.ascontiguousarray(f.pixels[:, ::-1])) for f in query.figures],
    )


@dataclass(frozen=True)
class _Ranking:
    """What is searched, and how."""

    register: Register
    plan: Plan
    chosen: Chosen
    filters: Filters
    exact: bool
    store: Planner | None = None

    def answer(
        self,
        query: Query,
        vectors: Embeddings,
        k: int,
        *,
        exclude_self: bool,
        flipped: Embeddings | None = None,
    ) -> SearchResult:
        """Rank the designs for one query.

        Args:
            query: What is searched with.
            vectors: ``(F, D)`` of its figures.
            k: Designs to return.
            exclude_self: Leave out figures of the same files.
            flipped: ``(F, D)`` of the mirror images of its figures; None: nothing is said of them.
        """
        same = self._same(query, exclude_self)
        repeated = same_views(vectors)
        counted = np.array([earlier is None for earlier in repeated], bool)
        found = self._nearest(vectors, max(k, VOTERS), same, counted)
        hits = self._hits(found, vectors, flipped, same)
        predicted = vote([hit.design for hit in hits])
        same = np.setdiff1d(same, self.register.columns.dead_rows)
        if self.chosen.rows is not None:
            same = np.intersect1d(same, self.chosen.rows)
        bounded = len(vectors) == 1 or hasattr(self.plan.searcher, "bounds")
        return SearchResult(
            query,
            hits[:k],
            compared_designs=self.chosen.designs - self._emptied(same),
            compared_figures=self.chosen.figures - len(same),
            exact=self.plan.exact and bounded,
            filters=self.filters.text,
            undated=self.chosen.undated,
            notes=self.chosen.notes,
            overlap=self.plan.overlap,
            store=self.plan.store,
            plan=self.plan,
            same_views=tuple(repeated),
            predicted=predicted,
            alarms=tuple(self._alarms(query, vectors, counted, exclude_self, hits, predicted)),
            register=self.register,
        )

    def _same(self, query: Query, exclude_self: bool) -> NDArray[np.int64]:
        """Return the rows that are the query itself, and are not compared."""
        rows = [np.empty(0, np.int64)]
        if query.design:
            rows.append(self.register.rows_of_design(query.design))
        if exclude_self:
            sums = {file.sha256 for file in query.sources if file.sha256}
            rows += [self.register.rows_of_sheet(sha256) for sha256 in sorted(sums)]
        return np.unique(np.concatenate(rows))

    def _nearest(
        self,
        vectors: Embeddings,
        k: int,
        same: NDArray[np.int64],
        counted: NDArray[np.bool_],
    ) -> list[Found]:
        columns, rows = self.register.columns, self.chosen.rows
        without = np.union1d(columns.dead_rows, same)
        if rows is not None:
            without = np.intersect1d(same, rows)
        return nearest_groups(
            self.plan.searcher,
            vectors,
            k,
            groups=columns.design_of,
            vectors=RegisterVectors(self.register),
            counted=counted,
            rows=rows,
            without=without,
        )

    def _hits(
        self,
        found: Sequence[Found],
        vectors: Embeddings,
        flipped: Embeddings | None,
        same: NDArray[np.int64],
    ) -> list[Hit]:
        mirrors = self._mirrors(found, flipped, same)
        wanted = np.concatenate([np.empty(0, np.int64), *(one.rows for one in found), *mirrors[0]])
        rows = sorted(set(wanted.tolist()))
        known = dict(zip(rows, self.register.figures(rows), strict=True))
        hits = []
        for rank, (one, row, cosine) in enumerate(zip(found, *mirrors, strict=True), start=1):
            views = tuple(
                self._match(view, known, one, row, cosine) for view in range(len(vectors))
            )
            best = int(np.lexsort((np.arange(len(vectors)), one.rows, -one.cosines))[0])
            figure, pair = known[int(one.rows[best])], float(one.cosines[best])
            design = self.register.design(figure.design)
            strength = self._share(pair, len(vectors))
            hits.append(Hit(rank, one.score, design, figure, best, strength, pair, views))
        return hits

    def _mirrors(
        self, found: Sequence[Found], flipped: Embeddings | None, same: NDArray[np.int64]
    ) -> tuple[list[NDArray[np.int64]], list[NDArray[np.float32]]]:
        """Return for each design, of each view's mirror image, the most similar row and its cosine.

        Where nothing was flipped no cosine is reached.
        """
        rows, cosines = [one.rows for one in found], [one.cosines - 2 for one in found]
        if flipped is None or not found:
            return rows, cosines
        members = self._rows_of([one.group for one in found])
        members = np.setdiff1d(members, same, assume_unique=True)  # sorted, too
        own = self.register.columns.design_of[members]
        alike = all_cosines(RegisterVectors(self.register), members, flipped)  # (F, n)
        for place, one in enumerate(found):
            mine = np.flatnonzero(own == one.group)
            best = alike[:, mine].argmax(axis=1)
            rows[place] = members[mine[best]]
            cosines[place] = alike[np.arange(len(alike)), mine[best]]
        return rows, cosines

    def _rows_of(self, designs: Sequence[int]) -> NDArray[np.int64]:
        """Return the rows of some designs that were compared, ascending."""
        of = self.register.columns.design_of
        wanted = np.zeros(int(of.max()) + 1, bool)
        wanted[list(designs)] = True
        if self.chosen.rows is None:
            return np.flatnonzero(wanted[of])
        rows: NDArray[np.int64] = self.chosen.rows[wanted[of[self.chosen.rows]]]
        return rows

    def _match(
        self,
        view: int,
        known: dict[int, FigureRecord],
        one: Found,
        mirror: NDArray[np.int64],
        cosine: NDArray[np.float32],
    ) -> ViewMatch:
        mirrored = bool(cosine[view] > one.cosines[view] + MIRRORED)
        row = int(mirror[view] if mirrored else one.rows[view])
        score = float(cosine[view] if mirrored else one.cosines[view])
        strength = self._share(score, 1 + mirrored)  # looked at twice
        matches = None if strength is None else strength.share <= MATCH
        return ViewMatch(view, known[row], score, matches, mirrored)

    def _share(self, cosine: float, views: int) -> Strength | None:
        """Return how rarely an unrelated design has a figure so like to one of so many views."""
        bundle, chosen = self.register.bundle, self.chosen
        if bundle.calibration is None:
            return None
        others = chosen.figures / max(1, chosen.designs)
        return bundle.calibration.strength(cosine, dim=bundle.dim, figures=views, others=others)

    def _alarms(
        self,
        query: Query,
        vectors: Embeddings,
        counted: NDArray[np.bool_],
        exclude_self: bool,
        hits: Sequence[Hit],
        predicted: ClassVote | None,
    ) -> Iterator[Alarm]:
        """Yield very similar designs of other classes than were asked for, or than is likely."""
        if self.register.bundle.calibration is None:
            return
        if self.filters.classes or self.filters.not_classes:
            beside = self.filters._replace(
                before=None, after=None, applicants=(), not_applicants=(), sources=(),
                not_sources=(), designs=(), not_designs=(),
            ).text  # fmt: skip
            all_classes = self.filters._replace(classes=(), not_classes=())
            chosen = all_classes.choose(self.register.columns, where=self.register.folder)
            plan = _plan(self.register, self.store, chosen, all_classes, len(vectors), self.exact)
            everywhere = replace(self, plan=plan, chosen=chosen)
            same = everywhere._same(query, exclude_self)
            found = everywhere._nearest(vectors, VOTERS, same, counted)
            inside = np.unique(self.register.columns.design_of[self.chosen.rows])
            for hit, one in zip(everywhere._hits(found, vectors, None, same), found, strict=True):
                if one.group not in inside and everywhere._is_alarming(hit):
                    yield Alarm(hit, beside, True)
        elif predicted is not None and predicted.clear:
            for hit in hits[:VOTERS]:
                other = hit.design.labels[: len(predicted.labels)] != predicted.labels
                if other and hit.design.labels and self._is_alarming(hit):
                    yield Alarm(hit, predicted.code, False)

    def _is_alarming(self, hit: Hit) -> bool:
        """Tell whether chance does not explain a hit: closer than what was measured can tell, or
        so close as few are, and as no one of so many unrelated designs is expected to be."""
        strength = self._share(hit.pair, 1)
        if strength is None:
            return False
        rare = strength.share <= ALARM and strength.share * self.chosen.designs < 1
        return strength.beyond or rare

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
