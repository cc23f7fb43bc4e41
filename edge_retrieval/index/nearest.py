"""From the most that each score can be to the best rows, exactly, scoring as few as possible."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Ranked = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Rows, best first, and their scores; of equal scores the smaller row comes first."""

SAMPLE = 8_192  # rows from which the height of the best is guessed; sorting all would take longer
SCORED_AT_ONCE = 256
LEAST_SCORED, SCORED_SHARE = 1_024, 16
"""So many rows, or this fraction of all, are scored one by one before all are read instead: a query
unlike all else is near to nothing, and rough bounds rule nothing out."""


def nearest(
    upper: NDArray[np.float32],
    k: int,
    score: Callable[[NDArray[np.int64]], NDArray[np.float32]],
    *,
    rows: NDArray[np.int64] | None = None,
    groups: NDArray[np.integer] | None = None,
    tighter: Callable[[], NDArray[np.float32]] | None = None,
) -> Ranked:
    """Return the k best rows, or the best row of each of the k best groups.

    Args:
        upper: ``(n,)``: no score is above it; ``-inf``: not a candidate.
        k: How many; all there are, if there are fewer.
        score: Gives the scores of some rows.
        rows: ``(n,)``, ascending: whose bounds these are. None: 0 to n - 1.
        groups: ``(N,)``: the group of each row. None: each row is its own.
        tighter: Gives ``(n,)`` bounds near the scores themselves, at the price of reading all
            vectors: asked where `upper` would have too many scored one by one.
    """

    def row_of(places: NDArray[np.int64]) -> NDArray[np.int64]:
        return places if rows is None else rows[places]

    def group_of(numbers: NDArray[np.int64]) -> NDArray[np.integer]:
        return numbers if groups is None else groups[numbers]

    places = _first_places(upper, k, lambda places: group_of(row_of(places)))
    known = row_of(places)
    scores = score(known)
    floor = _floor(known, scores, group_of(known), k)
    rest = _others_above(upper, floor, places)
    if tighter is not None and len(rest) > max(LEAST_SCORED, len(upper) // SCORED_SHARE):
        upper = tighter()
        rest = _others_above(upper, floor, places)
    start, many = 0, SCORED_AT_ONCE
    while start < len(rest) and upper[rest[start]] >= floor:
        piece = row_of(rest[start : start + many])
        known = np.concatenate([known, piece])
        scores = np.concatenate([scores, score(piece)])
        floor = _floor(known, scores, group_of(known), k)
        start, many = start + many, 4 * many  # where bounds tell little, many are read at once
    return best_of_each(known, scores, k, groups)


def _others_above(
    upper: NDArray[np.float32], floor: np.float32, places: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the places but for some whose bounds reach the floor, the highest bound first."""
    rest = np.setdiff1d(np.flatnonzero(upper >= floor), places, assume_unique=True)
    rest = rest[np.isfinite(upper[rest])]
    return rest[np.argsort(-upper[rest], kind="stable")]


def best_of_each(
    rows: NDArray[np.int64],
    scores: NDArray[np.float32],
    k: int,
    groups: NDArray[np.integer] | None,
) -> Ranked:
    """Return the best row of each of the k best groups, best first; None: each row is its own."""
    order = np.lexsort((rows, -scores))
    rows, scores = rows[order], scores[order]
    first = first_of_each(rows if groups is None else groups[rows])[:k]
    return rows[first], scores[first]


def first_of_each(groups: NDArray[np.integer]) -> NDArray[np.intp]:
    """Return the place of the first of each group, ascending."""
    return np.sort(np.unique(groups, return_index=True)[1])


def _first_places(
    upper: NDArray[np.float32],
    k: int,
    group_of: Callable[[NDArray[np.int64]], NDArray[np.integer]],
) -> NDArray[np.int64]:
    """Return the places of the highest bounds, just as many as hold k groups; or all."""
    many = 2 * k
    while True:
        places = _highest(upper, many)
        places = places[np.isfinite(upper[places])]
        places = places[np.argsort(-upper[places], kind="stable")]
        first = first_of_each(group_of(places))
        if len(first) >= k:
            return places[: first[k - 1] + 1]
        if len(places) < many:
            return places  # there are no more candidates
        many *= 8


def _highest(upper: NDArray[np.float32], many: int) -> NDArray[np.int64]:
    """Return the places of the `many` highest bounds, in any order."""
    count = len(upper)
    if many >= count:
        return np.arange(count)
    places = None
    if count > 4 * SAMPLE and 16 * many < count:
        sample = upper[:: count // SAMPLE]
        height = min(len(sample), 4 + 4 * many * len(sample) // count)
        guess = np.partition(sample, len(sample) - height)[len(sample) - height]
        places = np.flatnonzero(upper >= guess)
    if places is None or len(places) < many:
        return np.argpartition(upper, count - many)[count - many :]
    if len(places) == many:
        return places
    among = upper[places]
    return places[np.argpartition(among, len(among) - many)[len(among) - many :]]


def _floor(
    rows: NDArray[np.int64],
    scores: NDArray[np.float32],
    groups: NDArray[np.integer],
    k: int,
) -> np.float32:
    """Return the score that a row must reach to be among the best, whatever its number."""
    order = np.lexsort((rows, -scores))
    first = first_of_each(groups[order])
    if len(first) < k:
        return np.float32(-np.inf)
    floor = scores[order[first[k - 1]]]
    # Scores are cut off at -1, bounds are not.
    return np.float32(-np.inf) if floor <= -1 else floor
