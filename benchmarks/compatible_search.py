"""How a search with the rows of one encoder in those of another ranks, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from figures import Figures
from numpy.typing import NDArray
from ranking import Resampling, Values, shared_depth

from edge_retrieval.arrays import Codes, Embeddings
from edge_retrieval.metrics import average_precision, best_first, h_ap, hit_rate_at_k
from edge_retrieval.taxonomy import partial_codes

MEASURES = ("mAP", "hit_rate@10", "patent mAP", "H-AP")
"""Of designs, the first two; of figures the third; the last of designs, where all have classes."""
KEPT = ("mAP", "patent mAP")
"""Measures of which each patent's share is kept, and which are compared."""
TEST, MANY = "test", "with distractors"
Truth = tuple[NDArray[np.int64], Codes]
"""``(Q,)`` the row of each query itself, and ``(N, 3)`` codes of the gallery."""
Found = dict[str, dict[str, Values]]
"""Values of each query, by gallery and measure."""


def told_of(gallery: str) -> tuple[str, ...]:
    """Return the measures of a gallery: without classes there is no H-AP."""
    return MEASURES if gallery == TEST else MEASURES[:-1]


def codes_of(figures: Figures, queries: int) -> Codes:
    """Return ``(N, 3)``: classes of the first `queries`; of the others nothing but the design."""
    labels = [path if at < queries else () for at, path in enumerate(figures.labels)]
    _, codes = partial_codes(zip(labels, figures.designs, strict=True))
    return codes


def values(asked: Embeddings, gallery: Embeddings, truth: Truth) -> dict[str, Values]:
    """Let figures search a gallery that holds them: each is left out of its own search.

    Args:
        asked: ``(Q, D)`` rows of the queries.
        gallery: ``(N, D)`` rows that are searched.
        truth: Which row of the gallery each query is, and the codes of all.

    Returns:
        ``(Q,)`` for each of `MEASURES`; NaN where nothing can be found.
    """
    own, codes = truth
    similarity = asked @ gallery.T  # (Q, N)
    similarity[np.arange(len(own)), own] = -np.inf
    ranking = best_first(similarity)[:, :-1]
    figure = shared_depth(codes[own], codes)
    alike = np.take_along_axis(figure == 3, ranking, axis=1)
    order = np.argsort(codes[:, -1], kind="stable")
    starts = np.flatnonzero(np.diff(codes[order, -1], prepend=-1))
    best = np.maximum.reduceat(similarity[:, order], starts, axis=1)  # (Q, designs)
    depth = shared_depth(codes[own], codes[order][starts])
    depth[np.isneginf(best)] = 0  # nothing is left of the query's own design
    depth = np.take_along_axis(depth, best_first(best), axis=1)
    found = {
        "mAP": average_precision(depth == 3),
        "hit_rate@10": hit_rate_at_k(depth == 3, 10),
        "patent mAP": average_precision(alike),
        "H-AP": h_ap(depth, levels=3),
    }
    return {name: np.asarray(found[name]) for name in MEASURES}


class Arena:
    """Where rows are searched.

    Args:
        test: The figures that search; each is in every gallery.
        others: Those that are in the larger one besides.
    """

    def __init__(self, test: Figures, others: Figures) -> None:
        joined = Figures.joined([test, others])
        own = np.arange(len(test))
        self.truths: dict[str, Truth] = {
            TEST: (own, codes_of(test, len(test))),
            MANY: (own, codes_of(joined, len(test))),
        }
        self.draws = Resampling.of(places(test.designs))
        self.design = places(joined.designs)

    def searched(self, asked: Embeddings, gallery: Embeddings) -> Found:
        """Return the values of each query, by gallery and measure."""
        return {
            name: values(asked[truth[0]], gallery[: len(truth[1])], truth)
            for name, truth in self.truths.items()
        }

    def levels(self, asked: Embeddings, gallery: Embeddings) -> dict[str, float]:
        """Return the mean cosine of a query to other figures of its design, and to all others."""
        cosines = asked[: len(self.truths[TEST][0])] @ gallery.T  # (Q, N)
        own = self.design[: len(cosines), None] == self.design[None, :]
        others = ~own
        np.fill_diagonal(own, False)
        return {"own design": float(cosines[own].mean()), "others": float(cosines[others].mean())}

    def told(self, found: Found, old: Found, new: Found) -> dict[str, dict[str, Any]]:
        """Return means with intervals, also of the differences to both encoders alone."""
        return {
            name: {
                measure: self._one(measure, own[measure], old[name][measure], new[name][measure])
                for measure in told_of(name)
            }
            for name, own in found.items()
        }

    def _one(self, measure: str, own: Values, old: Values, new: Values) -> dict[str, Any]:
        mean = self.draws.interval(own)
        assert mean is not None
        said: dict[str, Any] = dict(mean._asdict())
        if measure in KEPT:
            said["over old"] = self.draws.difference(own, old)._asdict()
            said["over new"] = self.draws.difference(own, new)._asdict()
            said["patent_sums"] = " ".join(f"{value:.5g}" for value in self.draws.sums(own)[0])
        return said


def places(names: Sequence[str]) -> NDArray[np.int64]:
    """Number names: equal ones alike."""
    return np.unique(np.array(names), return_inverse=True)[1].reshape(-1)
