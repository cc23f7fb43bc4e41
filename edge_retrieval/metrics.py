"""How good rankings are: pure functions of rankings, numpy only.

A ranking is a row: what stands at rank 1, 2, ... of one query's gallery. `relevant` holds booleans,
`depth` how many taxonomy levels an item shares with the query (3 same design, 2 same subclass, 1
same class, 0 nothing, for Locarno). Every function takes ``(Q, N)`` and returns ``(Q,)`` float64;
a query with nothing relevant has no value: NaN. N must be the whole gallery wherever a function
counts what is relevant.

Formulas stand in the docstrings, and once more by plain loops in the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.arrays import Codes, Embeddings, Rows
from edge_retrieval.errors import EvaluationError

Relevant: TypeAlias = NDArray[np.bool_]
"""(Q, N) bool, best rank first."""

Depth: TypeAlias = NDArray[np.integer]
"""(Q, N) non-negative integers, best rank first: levels shared with the query."""

Values: TypeAlias = NDArray[np.float64]
"""(Q,) float64, NaN where a query has nothing relevant."""

Relevance: TypeAlias = Literal["inclusive", "exclusive"]


def hit_rate_at_k(relevant: Relevant, k: int) -> Values:
    """1 if anything relevant is in the first k, else 0 ("Recall@K" in metric-learning papers)."""
    return _defined(np.asarray(relevant[:, :k].any(axis=1)), relevant)


def recall_at_k(relevant: Relevant, k: int) -> Values:
    """Share of the relevant items that are in the first k."""
    return _ratio(relevant[:, :k].sum(axis=1), relevant.sum(axis=1))


def reciprocal_rank(relevant: Relevant, k: int | None = None) -> Values:
    """1 / rank of the first relevant item; 0 if that is beyond k. Its mean is the MRR(@k)."""
    if not relevant.shape[1]:
        return np.full(len(relevant), np.nan)
    first = relevant.argmax(axis=1)  # (Q,)
    reached = np.where(first < (relevant.shape[1] if k is None else k), 1.0 / (first + 1), 0.0)
    return _defined(reached, relevant)


def average_precision(relevant: Relevant) -> Values:
    """AP = (1 / R) sum over relevant ranks r of (relevant items in the first r) / r."""
    return _ratio(_precision_sum(relevant), relevant.sum(axis=1))


def average_precision_at_k(
    relevant: Relevant, k: int, *, denominator: Literal["relevant", "reachable"]
) -> Values:
    """AP over the first k ranks; papers differ in what they divide by, so it must be said.

    Args:
        relevant: ``(Q, N)``, the whole gallery.
        k: At least 1.
        denominator: "relevant": R, all that is relevant; "reachable": min(R, k).
    """
    count = relevant.sum(axis=1)
    return _ratio(
        _precision_sum(relevant[:, :k]),
        count if denominator == "relevant" else np.minimum(count, k),
    )


def ndcg_at_k(depth: Depth, k: int) -> Values:
    """DCG of the first k over that of the best ordering of the whole gallery.

    DCG = sum over ranks r <= k of (2^depth - 1) / log2(1 + r).
    """
    discount = 1.0 / np.log2(np.arange(2, min(k, depth.shape[1]) + 2))  # (K,)
    ideal = -np.sort(-depth.astype(np.int16), axis=1)[:, :k]
    return _ratio(_gain(depth[:, :k]) @ discount, _gain(ideal) @ discount)


def h_ap(depth: Depth, weights: Sequence[float] | None = None, *, levels: int) -> Values:
    """Hierarchical AP, in the form that is a weighted mean of the levels' inclusive APs.

    With rel(i) = sum over levels p <= depth(i) of w_p / |items of depth >= p|,
    H-AP = (1 / sum of rel) sum over i with rel(i) > 0 of
    [rel(i) + sum over j ranked above i of min(rel(i), rel(j))] / rank(i).
    This equals sum_p w_p AP_p / sum_p w_p over the levels p that have relevant items.

    Args:
        depth: ``(Q, N)``, the whole gallery.
        weights: Of the levels, coarse to fine, above 0; None: equal.
        levels: How many levels there are.

    Source:
        Ramzi et al., ECCV 2022, arXiv:2207.04873.
    """
    weights = [1.0] * levels if weights is None else weights
    if len(weights) != levels or min(weights) <= 0:
        raise ValueError(f"weights must be {levels} numbers above 0, not {weights}")
    total, weight = np.zeros(len(depth)), np.zeros(len(depth))
    for level, share in enumerate(weights, start=1):
        precision = average_precision(depth >= level)  # (Q,)
        present = ~np.isnan(precision)
        total += np.where(present, share * np.nan_to_num(precision), 0.0)
        weight += np.where(present, share, 0.0)
    return _ratio(total, weight)


def asi(depth: Depth, *, levels: int) -> Values:
    """Average set intersection with the ideal ranking, items of one depth being alike.

    ASI = (1 / R) sum over d = 1..R of |first d of the ranking and of the ideal in common| / d,
    R being the items of depth above 0; 1 for a perfect ranking.

    Source:
        Ramzi et al., ECCV 2022; Fagin et al., 2003.
    """
    count = (depth > 0).sum(axis=1)  # (Q,)
    reach = int(count.max(initial=0))
    ranks = np.arange(1, reach + 1)  # (R,)
    shared = np.zeros((len(depth), reach), np.int64)
    deeper = np.zeros((len(depth), 1), np.int64)  # ideal: all deeper ones come first
    for level in range(levels, 0, -1):
        here = depth == level
        total = here.sum(axis=1, keepdims=True)  # (Q, 1)
        ideal = np.clip(ranks - deeper, 0, total)  # (Q, R)
        shared += np.minimum(here[:, :reach].cumsum(axis=1), ideal)
        deeper = deeper + total
    within = np.where(ranks <= count[:, None], shared / np.maximum(ranks, 1), 0.0)
    return _ratio(within.sum(axis=1), count)


def overlap_at_k(found: Rows, exact: Rows, k: int) -> Values:
    """Share of the k exact neighbours that a faster search found ("recall" in ann-benchmarks).

    Args:
        found: ``(Q, K)`` rows that the faster search returned, best first, none twice.
        exact: ``(Q, K')`` rows of the exact search; if K' is below k, all of them count.
        k: At least 1.
    """
    exact = exact[:, :k]
    if not exact.shape[1]:
        return np.full(len(exact), np.nan)
    shared = [
        len(np.intersect1d(a, b, assume_unique=True))
        for a, b in zip(found[:, :k], exact, strict=True)
    ]
    return _ratio(np.array(shared), np.full(len(shared), exact.shape[1]))


@dataclass(frozen=True)
class RetrievalScores:
    """Means over queries at one level, with all that they must be read with.

    Attributes:
        level: A level's name, or "all" for graded measures.
        relevance: "inclusive": items that agree deeper count as relevant too; "exclusive": they
            are taken out of the ranking first, since they would inflate the figure.
        gallery: Items that a query searches, before any are taken out.
        queries: How many queries the means are over.
        skipped: Queries with nothing relevant, not in the means.
        values: "mAP" and others; empty if every query was skipped.
    """

    level: str
    relevance: Relevance
    gallery: int
    queries: int
    skipped: int
    values: dict[str, float]


def leave_one_out(
    embeddings: Embeddings,
    codes: Codes,
    levels: Sequence[str],
    *,
    ks: Sequence[int] = (1, 5, 10),
    chunk: int = 256,
) -> list[RetrievalScores]:
    """Let every figure search all the others.

    Args:
        embeddings: ``(N, D)`` float32, finite, rows of length 1.
        codes: ``(N, L)`` int32, coarse to fine; a negative code is unknown and agrees with none.
        levels: Names of the L levels.
        ks: Cut-offs of the hit rate; the largest is that of recall and nDCG, too.
        chunk: Queries at once: bounds memory at about ``chunk * N * 60`` bytes.

    Returns:
        For each level, coarse to fine: hit_rate@k, recall@K, MRR, mAP, inclusive and (but for the
        finest, where it is the same) exclusive. Last, level "all": nDCG@K, H-AP (equal weights),
        ASI, over the queries with anything relevant at all.

    Raises:
        EvaluationError: Fewer than two figures.
    """
    _check(embeddings, codes, levels, ks)
    tally = _Tally(levels, ks)
    for start in range(0, len(embeddings), chunk):
        similarity = embeddings[start : start + chunk] @ embeddings.T  # (Q, N)
        query = np.arange(len(similarity))
        similarity[query, start + query] = -np.inf  # the query itself: last, then dropped
        ranking = best_first(similarity)[:, :-1]  # (Q, N-1)
        depth = _shared_depth(codes[start : start + chunk], codes)
        tally.add(np.take_along_axis(depth, ranking, axis=1))
    return tally.scores(len(embeddings) - 1)


def by_design(
    embeddings: Embeddings,
    codes: Codes,
    levels: Sequence[str],
    *,
    ks: Sequence[int] = (1, 5, 10),
    chunk: int = 256,
) -> list[RetrievalScores]:
    """Let every figure search the designs, each ranked by its best figure but the query itself.

    At the finest level one item is relevant: the query's own design, by its other figures; the
    figures of a design that has no other are skipped there.

    Args, Returns, Raises: as `leave_one_out`; here the gallery counts designs, the query's own
        with them, and every figure needs a known finest code.
    """
    _check(embeddings, codes, levels, ks)
    if (codes[:, -1] < 0).any():
        raise ValueError("a figure without a design cannot be ranked by design")
    order = np.argsort(codes[:, -1], kind="stable")
    embeddings, codes = embeddings[order], codes[order]
    starts = np.flatnonzero(np.diff(codes[:, -1], prepend=-1))  # (M,) first figure of each design
    tally = _Tally(levels, ks)
    for start in range(0, len(embeddings), chunk):
        similarity = embeddings[start : start + chunk] @ embeddings.T  # (Q, N)
        query = np.arange(len(similarity))
        similarity[query, start + query] = -np.inf
        best = np.maximum.reduceat(similarity, starts, axis=1)  # (Q, M)
        depth = _shared_depth(codes[start : start + chunk], codes[starts])
        depth[np.isneginf(best)] = 0  # nothing is left of the query's own design
        tally.add(np.take_along_axis(depth, best_first(best), axis=1))
    return tally.scores(len(starts))


class _Tally:
    """Values of each query, chunk after chunk, by level and convention."""

    def __init__(self, levels: Sequence[str], ks: Sequence[int]) -> None:
        self.levels, self.ks, self.top = tuple(levels), tuple(ks), max(ks)
        self.found: dict[tuple[str, Relevance], list[dict[str, Values]]] = {}

    def add(self, depth: Depth) -> None:
        """Take in rankings: (Q, N) depths, best first."""
        count = len(self.levels)
        for level, name in enumerate(self.levels, start=1):
            self._keep(name, "inclusive", self._binary(depth >= level))
            if level < count:
                # Pushed behind all others and irrelevant, the deeper ones change no measure.
                kept = np.argsort(depth > level, axis=1, kind="stable")
                relevant = np.take_along_axis(depth == level, kept, axis=1)
                self._keep(name, "exclusive", self._binary(relevant))
        graded = {
            f"nDCG@{self.top}": ndcg_at_k(depth, self.top),
            "H-AP": h_ap(depth, levels=count),
            "ASI": asi(depth, levels=count),
        }
        self._keep("all", "inclusive", graded)

    def _binary(self, relevant: Relevant) -> dict[str, Values]:
        values = {f"hit_rate@{k}": hit_rate_at_k(relevant, k) for k in self.ks}
        values[f"recall@{self.top}"] = recall_at_k(relevant, self.top)
        values["MRR"] = reciprocal_rank(relevant)
        values["mAP"] = average_precision(relevant)
        return values

    def _keep(self, level: str, relevance: Relevance, values: dict[str, Values]) -> None:
        self.found.setdefault((level, relevance), []).append(values)

    def scores(self, gallery: int) -> list[RetrievalScores]:
        """Return the means over the queries that have a value."""
        return [self._mean(*key, gallery, chunks) for key, chunks in self.found.items()]

    def _mean(
        self, level: str, relevance: Relevance, gallery: int, chunks: list[dict[str, Values]]
    ) -> RetrievalScores:
        joined = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
        defined = ~np.isnan(next(iter(joined.values())))
        queries = int(defined.sum())
        return RetrievalScores(
            level,
            relevance,
            gallery,
            queries,
            len(defined) - queries,
            {name: float(v[defined].mean()) for name, v in joined.items()} if queries else {},
        )


def _check(embeddings: Embeddings, codes: Codes, levels: Sequence[str], ks: Sequence[int]) -> None:
    if embeddings.ndim != 2 or codes.shape != (len(embeddings), len(levels)) or not levels:
        raise ValueError(f"{embeddings.shape} embeddings, {codes.shape} codes, {levels}")
    if not ks or min(ks) < 1:
        raise ValueError(f"ks must be at least 1, not {ks}")
    if not np.isfinite(embeddings).all():
        raise ValueError("an embedding holds a number that is not finite")
    if len(embeddings) < 2:
        raise EvaluationError(
            f"{len(embeddings)} figures cannot search one another",
            hint="evaluate on two figures or more, of designs with several figures each",
        )


def best_first(similarity: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return (Q, N) column numbers, best first; of equal similarities the smaller column first.

    Similarity and column are packed into one integer and sorted by value: three times as fast as a
    stable argsort.
    """
    bits = (0.0 - similarity).view(np.int32)  # 0.0 - x: no negative zero
    bits ^= (bits >> 31) & 0x7FFFFFFF  # now integers order as the floats do
    packed = bits.astype(np.int64)
    packed <<= 32
    packed |= np.arange(similarity.shape[1])
    packed.sort(axis=1)
    packed &= 0xFFFFFFFF
    return packed


def _shared_depth(queries: Codes, gallery: Codes) -> NDArray[np.uint8]:
    """Return (Q, N): the finest level, counted from 1, at which two items agree; 0 if at none."""
    depth = np.zeros((len(queries), len(gallery)), np.uint8)
    for level in range(queries.shape[1]):
        agree = (queries[:, level, None] == gallery[:, level]) & (gallery[:, level] >= 0)
        depth[agree] = level + 1
    return depth


def _precision_sum(relevant: Relevant) -> NDArray[np.float64]:
    """Return (Q,): the sum of the precisions at the ranks of the relevant items."""
    query, rank = np.nonzero(relevant)  # few: cheaper than cumulative sums over all ranks
    count = relevant.sum(axis=1)  # (Q,)
    nth = np.arange(len(query)) - np.repeat(np.cumsum(count) - count, count) + 1
    total = np.bincount(query, nth / (rank + 1), minlength=len(relevant))
    return total.astype(np.float64)


def _gain(depth: Depth) -> NDArray[np.float64]:
    return np.exp2(depth.astype(np.float64)) - 1.0


def _ratio(top: NDArray[Any], bottom: NDArray[Any]) -> Values:
    """Return `top / bottom`; NaN where `bottom` is 0."""
    out = np.full(len(bottom), np.nan)
    np.divide(top, bottom, out=out, where=np.asarray(bottom) != 0)
    return out


def _defined(values: NDArray[Any], relevant: Relevant) -> Values:
    """Return the values as float64; NaN for queries with nothing relevant."""
    return np.where(relevant.any(axis=1), values.astype(np.float64), np.nan)
