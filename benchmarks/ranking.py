"""How each query ranks a gallery, and how sure its mean is when other patents had been drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.arrays import Codes, Embeddings
from edge_retrieval.metrics import average_precision, best_first, h_ap, hit_rate_at_k

MEASURES = ("patent mAP", "hit_rate@1", "hit_rate@5", "subclass mAP", "H-AP")
RESAMPLES = 2000
SEED = 0
CHUNK = 128

Values = NDArray[np.float64]
"""(Q,) one a query; NaN where it has nothing to be found."""


class Interval(NamedTuple):
    """A value and the interval that 95 % of the resamples fall into."""

    value: float
    low: float
    high: float


def query_values(embeddings: Embeddings, codes: Codes, queries: int) -> dict[str, Values]:
    """Let the first figures of a gallery search all the others of it.

    Args:
        embeddings: ``(N, D)`` rows of length 1.
        codes: ``(N, 3)``, class, subclass, design; a negative code agrees with none.
        queries: How many of the first figures search.

    Returns:
        ``(queries,)`` for each of `MEASURES`: average precision over the whole ranking, patent
        level; the hit rates there; average precision at subclass level with the figures of the
        query's own patent taken out; hierarchical AP, three levels of equal weight.
    """
    found: dict[str, list[Values]] = {name: [] for name in MEASURES}
    for start in range(0, queries, CHUNK):
        rows = np.arange(start, min(start + CHUNK, queries))
        similarity = embeddings[rows] @ embeddings.T  # (Q, N)
        similarity[np.arange(len(rows)), rows] = -np.inf  # the query itself: last, then dropped
        ranking = best_first(similarity)[:, :-1]
        depth = np.take_along_axis(shared_depth(codes[rows], codes), ranking, axis=1)  # (Q, N-1)
        own = depth == 3
        # Behind all others and irrelevant, figures of the query's own patent change nothing.
        behind = np.argsort(own, axis=1, kind="stable")
        same_subclass = np.take_along_axis(depth == 2, behind, axis=1)
        found["patent mAP"].append(average_precision(own))
        found["hit_rate@1"].append(hit_rate_at_k(own, 1))
        found["hit_rate@5"].append(hit_rate_at_k(own, 5))
        found["subclass mAP"].append(average_precision(same_subclass))
        found["H-AP"].append(h_ap(depth, levels=3))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def shared_depth(queries: Codes, gallery: Codes) -> NDArray[np.uint8]:
    """Return ``(Q, N)``: how many levels, coarse to fine, an item shares with a query."""
    depth = np.zeros((len(queries), len(gallery)), np.uint8)
    for level in range(queries.shape[1]):
        agree = (queries[:, level, None] == gallery[:, level]) & (gallery[:, level] >= 0)
        depth[agree] = level + 1
    return depth


@dataclass(frozen=True)
class Resampling:
    """Patents drawn again and again, with all their figures as queries; the gallery stays.

    Attributes:
        patent: ``(Q,)`` of each query: 0, 1, ... P - 1.
        counts: ``(R, P)`` how often each patent was drawn.
    """

    patent: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, patent: NDArray[np.int64], *, resamples: int = RESAMPLES) -> Resampling:
        """Draw as many patents as there are, with replacement; always the same draws."""
        number = int(patent.max()) + 1
        rng = np.random.default_rng(SEED)
        return cls(patent, rng.multinomial(number, np.full(number, 1 / number), size=resamples))

    def means(self, values: Values) -> NDArray[np.float64]:
        """Return ``(R,)``: the mean over the queries of each draw that have a value."""
        sums, queries = self.sums(values)
        with np.errstate(invalid="ignore"):
            means: NDArray[np.float64] = (self.counts @ sums) / (self.counts @ queries)
        return means

    def sums(self, values: Values) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return ``(P,)`` sums of the values, and ``(P,)`` how many there are, patent by patent."""
        defined = ~np.isnan(values)
        patents = self.counts.shape[1]
        sums = np.bincount(self.patent[defined], values[defined], minlength=patents)
        return sums, np.bincount(self.patent[defined], minlength=patents)

    def interval(self, values: Values) -> Interval | None:
        """Return the mean over all queries that have a value, with its interval; None: none has."""
        if np.isnan(values).all():
            return None
        return _interval(float(np.nanmean(values)), self.means(values))

    def difference(self, values: Values, others: Values) -> Interval:
        """Return by how much one mean is above another, on the same draws."""
        value = float(np.nanmean(values) - np.nanmean(others))
        return _interval(value, self.means(values) - self.means(others))

    def ratio(self, values: Values, others: Values) -> Interval | None:
        """Return how many times another one mean is, on the same draws; None: the other is 0."""
        other = float(np.nanmean(others))
        if not other:
            return None
        below = self.means(others)  # (R,)
        drawn = self.means(values) / np.where(below > 0, below, np.nan)
        return _interval(float(np.nanmean(values)) / other, drawn)


def _interval(value: float, drawn: NDArray[np.float64]) -> Interval:
    # A draw of patents none of which has a value tells nothing: at subclass level, in small sets.
    low, high = np.nanpercentile(drawn, (2.5, 97.5))
    return Interval(value, float(low), float(high))
