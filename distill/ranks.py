"""What each figure of a label tree finds among the others, and how two networks differ in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.data import Scheme
from edge_retrieval.arrays import Embeddings
from edge_retrieval.metrics import average_precision, best_first

SHOWN = 5
"""First figures that are kept of each query."""
RESAMPLES = 2000
CHUNK = 256  # queries at once: bounds memory at about CHUNK * figures * 60 bytes

Values = NDArray[np.float64]
"""``(n,)`` of the figures of a scheme; NaN where a figure has nothing to find."""


@dataclass(frozen=True)
class Ranks:
    """What the n figures of a scheme found among one another.

    Attributes:
        design: ``(n,)`` codes.
        patent: ``(n,)`` average precision at design level.
        subclass: ``(n,)`` the same at the level above, the figures of the own design taken out.
        right: ``(n,)`` rank of the first figure of the own design, from 1; 0 where there is none.
        margin: ``(n,)`` best cosine of the own design minus the best of another one.
        first: ``(n, K)`` places in the scheme, best first.
        scores: ``(n, K)`` their cosines.
    """

    design: NDArray[np.int32]
    patent: Values
    subclass: Values
    right: NDArray[np.int64]
    margin: Values
    first: NDArray[np.int64]
    scores: NDArray[np.float32]


@dataclass(frozen=True)
class Answer:
    """What a query found.

    Attributes:
        rows: The first figures, best first, as the scheme's row numbers.
        scores: Their cosines with the query.
        right: Rank of the first figure of its own design, from 1.
    """

    rows: tuple[int, ...]
    scores: tuple[float, ...]
    right: int


@dataclass(frozen=True)
class Flip:
    """A query whose first figure was of its own design with one network and not with the other.

    Attributes:
        row: Of the query among the figures compared.
        scheme: Place of its label tree among the schemes.
        before: What it found with FP32.
        after: What it finds now.
        margin: By how much the best cosine of its own design stood above the best one of another
            with FP32; below 0 if it was gained. Near 0 it was a toss-up to begin with.
    """

    row: int
    scheme: int
    before: Answer
    after: Answer
    margin: float

    @property
    def lost(self) -> bool:
        """Whether FP32 was right; else the query was gained."""
        return self.before.right == 1

    @property
    def moved(self) -> int:
        """By how many ranks the first figure of its own design moved."""
        return abs(self.after.right - self.before.right)


def rank(embeddings: Embeddings, scheme: Scheme) -> Ranks:
    """Let each figure of a scheme search the others of it.

    Args:
        embeddings: ``(N, D)`` rows of length 1; `scheme.rows` are among them.
        scheme: Says what is relevant.
    """
    parts = [
        _rank_part(similarity, queries, scheme)
        for queries, similarity in _similarities(embeddings[scheme.rows])
    ]
    return Ranks(scheme.codes[:, -1], *(np.concatenate(part) for part in zip(*parts, strict=True)))


def flips(
    schemes: Sequence[Scheme], before: Sequence[Ranks], after: Sequence[Ranks]
) -> tuple[Flip, ...]:
    """Return the queries that flipped: lost ones first, of each kind those that moved furthest.

    Args:
        schemes: Label trees.
        before: Of each, with FP32.
        after: Of each, with the other network.
    """
    found = [
        Flip(
            row=int(scheme.rows[query]),
            scheme=place,
            before=_answer(one, query, scheme),
            after=_answer(two, query, scheme),
            margin=float(one.margin[query]),
        )
        for place, (scheme, one, two) in enumerate(zip(schemes, before, after, strict=True))
        for query in np.flatnonzero((one.right == 1) != (two.right == 1)).tolist()
    ]
    return tuple(sorted(found, key=lambda flip: (not flip.lost, -flip.moved, flip.row)))


def nearest(embeddings: Embeddings, k: int) -> NDArray[np.int64]:
    """Return ``(N, k)``: the rows nearest to each of ``(N, D)``, itself left out, best first."""
    return np.concatenate(
        [best_first(part)[:, : min(k, part.shape[1] - 1)] for _, part in _similarities(embeddings)]
    )


def mean_over(values: Sequence[Values]) -> float:
    """Return the mean over schemes of the means over their queries; NaN if there are none."""
    means = [each[~np.isnan(each)].mean() for each in values if not np.isnan(each).all()]
    return float(np.mean(means)) if means else float("nan")


def interval(
    drops: Sequence[Values], designs: Sequence[NDArray[np.int32]], *, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % interval of `mean_over(drops)` by a bootstrap over the designs.

    The figures of a design are drawn or left out together: they are alike, so each of them tells
    less than one more design would. Within each scheme as many designs are drawn as it has.

    Args:
        drops: ``(n,)`` of each scheme: what one network scores less than the other, by query.
        designs: ``(n,)`` codes of these queries.
        seed: Of the draws.

    Returns:
        The 2.5th and the 97.5th percentile; NaN with fewer than two designs.
    """
    rng = np.random.default_rng(seed)
    means: list[Values] = []  # (B,) of each scheme
    counted = 0
    for drop, design in zip(drops, designs, strict=True):
        known = ~np.isnan(drop)
        if not known.any():
            continue
        place = np.unique(design[known], return_inverse=True)[1].reshape(-1)
        queries = np.bincount(place)  # (M,) of each design
        total = np.bincount(place, drop[known])  # (M,)
        count = len(queries)
        drawn = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)  # (B, M)
        means.append(drawn @ total / (drawn @ queries))
        counted += count
    if counted < 2:
        return float("nan"), float("nan")
    low, high = np.percentile(np.mean(means, axis=0), [2.5, 97.5])
    return float(low), float(high)


def _answer(ranks: Ranks, query: int, scheme: Scheme) -> Answer:
    return Answer(
        tuple(scheme.rows[ranks.first[query]].tolist()),
        tuple(ranks.scores[query].tolist()),
        int(ranks.right[query]),
    )


def _rank_part(
    similarity: NDArray[np.float32], queries: NDArray[np.int64], scheme: Scheme
) -> tuple[NDArray[Any], ...]:
    """Return all of `Ranks` but the design, of some queries.

    Args:
        similarity: ``(Q, n)``, -inf between a figure and itself.
        queries: ``(Q,)`` places in the scheme.
        scheme: Says what is relevant.
    """
    ranking = best_first(similarity)[:, :-1]  # (Q, n-1) the query itself was last
    scores = np.take_along_axis(similarity, ranking, axis=1)  # (Q, n-1)
    own = _agree(scheme.codes[:, -1], queries, ranking)  # (Q, n-1)
    right = np.where(own.any(axis=1), _first(own), 0)
    if len(scheme.levels) > 1:
        alike = _agree(scheme.codes[:, -2], queries, ranking) & ~own
        # pushed behind all others and irrelevant, the own design changes nothing
        kept = np.argsort(own, axis=1, kind="stable")
        subclass = average_precision(np.take_along_axis(alike, kept, axis=1))
    else:
        subclass = np.full(len(queries), np.nan)
    margin = _score_at(scores, _first(own)) - _score_at(scores, _first(~own))
    first = slice(None), slice(SHOWN)
    return average_precision(own), subclass, right, margin, ranking[first], scores[first]


def _first(relevant: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return ``(Q,)``: rank of the first True of each row, from 1; beyond the last if none is."""
    beyond = np.ones((len(relevant), 1), bool)
    place: NDArray[np.int64] = np.hstack([relevant, beyond]).argmax(axis=1)
    return place + 1


def _score_at(scores: NDArray[np.float32], rank: NDArray[np.int64]) -> Values:
    """Return ``(Q,)``: the score at a rank of each row, NaN beyond the last."""
    beyond = np.full((len(scores), 1), np.nan)
    return np.take_along_axis(np.hstack([scores, beyond]), rank[:, None] - 1, axis=1)[:, 0]


def _agree(
    codes: NDArray[np.int32], queries: NDArray[np.int64], ranking: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return ``(Q, n-1)``: whether what was found has the query's code; -1 agrees with none."""
    own = codes[queries, None]  # (Q, 1)
    return np.asarray((codes[ranking] == own) & (own >= 0))


def _similarities(
    embeddings: Embeddings,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Yield rows and their ``(Q, N)`` cosines with all rows, -inf with themselves."""
    for start in range(0, len(embeddings), CHUNK):
        similarity = embeddings[start : start + CHUNK] @ embeddings.T  # (Q, N)
        rows = np.arange(start, start + len(similarity))
        similarity[rows - start, rows] = -np.inf
        yield rows, similarity
