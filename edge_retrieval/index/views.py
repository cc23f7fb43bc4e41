"""The groups (designs) that are most like several vectors (views) at once, exactly.

With m_f the best cosine of view f to any row of a group, the group's score is

    (max over f of m_f  +  mean over f of m_f) / 2

so that one pair that is very alike counts, and so does the agreement of all. One view: its best
cosine. What bounds every row's cosine bounds a group's score, so few groups are scored in full.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.arrays import Embeddings
from edge_retrieval.index.exact import Bounded, Index
from edge_retrieval.index.nearest import LEAST_SCORED, SCORED_SHARE
from edge_retrieval.index.stored import Vectors, all_cosines

AT_ONCE = 64
"""Groups that are scored first; then four times as many at a time."""

SLACK = 1e-9
"""Of a sum of bounds, for rounding."""

FOLLOWED = 64
"""At least so many groups of each view are taken from a graph."""


class Found(NamedTuple):
    """One group in the answer.

    Attributes:
        group: Its number.
        score: See above; float64, computed from float32 cosines.
        rows: ``(F,)`` its row that is most like each view; of equal ones the smallest.
        cosines: ``(F,)`` float32 of these.
    """

    group: int
    score: float
    rows: NDArray[np.int64]
    cosines: NDArray[np.float32]


def score_of(cosines: NDArray[np.float32]) -> float:
    """Return the score of a group whose best cosines (F,) to the views are these."""
    best = [float(cosine) for cosine in cosines]
    return (max(best) + math.fsum(best) / len(best)) / 2


def nearest_groups(
    index: Index,
    views: Embeddings,
    k: int,
    *,
    groups: NDArray[np.integer],
    vectors: Vectors,
    counted: NDArray[np.bool_] | None = None,
    rows: NDArray[np.int64] | None = None,
    without: NDArray[np.int64] | None = None,
) -> list[Found]:
    """Return the k best groups, best first; of equal scores that of the smaller first row.

    Args:
        index: Of `vectors`; one that knows bounds answers exactly.
        views: ``(F, D)``, F at least 1, rows of length 1.
        k: How many; all there are, if there are fewer.
        groups: ``(N,)``: the group of each row, numbered from 0.
        vectors: ``(N, D)``: what is scored.
        counted: ``(F,)``: which views count in the score, at least one; None: all.
        rows: The candidates, ascending without repeats; None: all.
        without: Rows that are no candidates, ascending without repeats.
    """
    counted = np.ones(len(views), bool) if counted is None else counted
    if len(views) == 1:
        [(best, cosines)] = index.rank(views, k, rows=rows, without=without, groups=groups)
        return [
            Found(int(groups[row]), float(cosine), np.array([row]), np.array([cosine], np.float32))
            for row, cosine in zip(best.tolist(), cosines.tolist(), strict=True)
        ]
    scoring = _Scoring(vectors, views, counted, groups, rows, without)
    if not hasattr(index, "bounds"):
        many = max(FOLLOWED, 4 * k)
        ranked = index.rank(views[counted], many, rows=rows, without=without, groups=groups)
        near = [groups[best] for best, _ in ranked]
        return sorted(scoring.found(np.unique(np.concatenate(near))), key=_order)[:k]
    return _by_bounds(cast(Bounded, index), scoring, k)


def _by_bounds(index: Bounded, scoring: _Scoring, k: int) -> list[Found]:
    """Score groups, the highest bound first, until no bound reaches the k-th score."""
    upper = scoring.bounds(index)
    order = np.argsort(-upper, kind="stable")
    order = order[np.isfinite(upper[order])]
    best: list[Found] = []
    flat: Bounded | None = getattr(index, "flat", None)
    start, many = 0, max(k, AT_ONCE)
    while start < len(order):
        floor = best[k - 1].score if len(best) >= k else -math.inf
        left = int(np.count_nonzero(upper[order[start:]] >= floor))
        if not left:
            break
        too_many = left > max(LEAST_SCORED, len(order) // SCORED_SHARE)
        if best and flat is not None and too_many:
            # Rough bounds rule too little out: those of a product in float32 cost less by now.
            upper = scoring.bounds(flat)
            rest = order[start:]
            order[start:] = rest[np.argsort(-upper[rest], kind="stable")]
            flat = None  # once
            continue
        piece = order[start : start + min(many, left)]
        best = sorted([*best, *scoring.found(piece)], key=_order)[: max(k, 1)]
        start, many = start + len(piece), 4 * many
    return best[:k]


def _order(found: Found) -> tuple[float, int]:
    return -found.score, int(found.rows.min())


@dataclass(frozen=True)
class _Scoring:
    """The views, and the rows that they are compared with."""

    vectors: Vectors
    views: Embeddings
    counted: NDArray[np.bool_]
    groups: NDArray[np.integer]
    rows: NDArray[np.int64] | None
    without: NDArray[np.int64] | None

    def bounds(self, index: Bounded) -> NDArray[np.float64]:
        """Return ``(G,)``: the most that each group's score can be; -inf: no candidate."""
        of = self.groups if self.rows is None else self.groups[self.rows]
        if not len(of):
            return np.empty(0)
        starts = np.concatenate([[0], np.flatnonzero(np.diff(of)) + 1])  # a design's rows lie side
        run = of[starts]  # by side, but for those added later
        peak = np.full(int(of.max()) + 1, -np.inf)
        total = np.zeros(len(peak))
        for view in self.views[self.counted]:
            upper = index.bounds(view[None], self.rows)[0]
            if self.without is not None and len(self.without):
                gone = self.without
                if self.rows is not None:
                    gone = np.flatnonzero(np.isin(self.rows, gone, assume_unique=True))
                upper[gone] = -np.inf
            best = np.full(len(peak), -np.inf)
            np.maximum.at(best, run, np.maximum.reduceat(upper, starts).astype(np.float64))
            peak = np.maximum(peak, best)
            total += best
        return (peak + total / np.count_nonzero(self.counted)) / 2 + SLACK

    def found(self, groups: NDArray[np.integer]) -> Iterator[Found]:
        """Score some groups in full."""
        wanted = np.zeros(int(groups.max()) + 1 if len(groups) else 0, bool)
        wanted[groups] = True
        of = self.groups if self.rows is None else self.groups[self.rows]
        inside = of < len(wanted)
        inside[inside] = wanted[of[inside]]
        members = np.flatnonzero(inside) if self.rows is None else self.rows[inside]
        if self.without is not None:
            members = np.setdiff1d(members, self.without, assume_unique=True)
        members = members[np.argsort(self.groups[members], kind="stable")]
        cosines = all_cosines(self.vectors, members, self.views)  # (F, n)
        own = self.groups[members]
        ends = [*(np.flatnonzero(np.diff(own)) + 1).tolist(), len(own)] if len(own) else []
        for start, stop in zip([0, *ends], ends, strict=False):
            places = start + cosines[:, start:stop].argmax(axis=1)  # (F,)
            best = cosines[np.arange(len(self.views)), places]
            yield Found(int(own[start]), score_of(best[self.counted]), members[places], best)
