"""Exact search: every vector compared in float32, the best of them again in float64."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.arrays import Embeddings, Rows, Scores
from edge_retrieval.index.nearest import Ranked, nearest
from edge_retrieval.index.stored import (
    Vectors,
    as_vectors,
    checked_queries,
    checked_rows,
    cosines,
    not_finite,
)

CHUNK = 65_536  # vectors compared at once: bounds memory, and 65,536 x 128 floats still stream
BOUNDS_AT_ONCE = 4_194_304  # bounds kept at once: 16 MB


class Index(Protocol):
    """Vectors that can be searched; a row number is a vector's place in the matrix."""

    def __len__(self) -> int:
        """Return how many vectors there are."""
        ...

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        ...

    def rank(
        self,
        queries: Embeddings,
        k: int,
        *,
        rows: NDArray[np.int64] | None = None,
        without: NDArray[np.int64] | None = None,
        groups: NDArray[np.integer] | None = None,
    ) -> list[Ranked]:
        """Return the k nearest rows of each query; all candidates, if there are fewer.

        Args:
            queries: ``(Q, D)``, finite, rows of length 1; Q may be 0.
            k: How many, at least 0.
            rows: The candidates, ascending without repeats; None: all.
            without: Rows that are no candidates, ascending without repeats.
            groups: ``(N,)``: the group of each row; the k best groups are then asked for, and each
                is given by its best row. None: each row is its own group.

        Returns:
            For each query the rows, best first, and their cosines in [-1, 1]; of equal scores the
            smaller row comes first.

        Raises:
            ValueError: Arguments of the wrong kind: our own mistake.
            RegisterError: A stored vector is not finite: the file is damaged.
        """
        ...


def search(
    index: Index, queries: Embeddings, k: int, *, rows: NDArray[np.int64] | None = None
) -> tuple[Rows, Scores]:
    """Return what `Index.rank` does, as two arrays: ``(Q, K)`` rows and ``(Q, K)`` scores."""
    ranked = index.rank(queries, k, rows=rows)
    width = min(k, len(index) if rows is None else len(rows))
    found = np.array([best for best, _ in ranked], np.int64).reshape(len(ranked), width)
    scores = np.array([cosine for _, cosine in ranked], np.float32).reshape(len(ranked), width)
    return found, scores


class FlatIndex:
    """Exact search over vectors in memory, memory-mapped or in a register.

    The answer depends on neither chunking nor the other queries of a batch: a float32 matrix
    product, whose last bits depend on both, gives for each row the most that its score can be;
    scores in float64 decide.

    Args:
        vectors: ``(N, D)`` float32, rows of length 1; N may be 0. Not copied.
        chunk: Vectors compared at once.
    """

    def __init__(self, vectors: Vectors | Embeddings, *, chunk: int = CHUNK) -> None:
        if chunk < 1:
            raise ValueError(f"chunk must be at least 1, not {chunk}")
        self.vectors = as_vectors(vectors)
        self.chunk = chunk

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def dim(self) -> int:
        return self.vectors.dim

    def search(
        self, queries: Embeddings, k: int, *, rows: NDArray[np.int64] | None = None
    ) -> tuple[Rows, Scores]:
        """See `search`."""
        return search(self, queries, k, rows=rows)

    def rank(
        self,
        queries: Embeddings,
        k: int,
        *,
        rows: NDArray[np.int64] | None = None,
        without: NDArray[np.int64] | None = None,
        groups: NDArray[np.integer] | None = None,
    ) -> list[Ranked]:
        """See `Index.rank`."""
        return ranked_by_bounds(self, queries, k, rows=rows, without=without, groups=groups)

    def bounds(self, queries: Embeddings, rows: NDArray[np.int64] | None) -> NDArray[np.float32]:
        """Return ``(Q, n)``: the most that each score can be."""
        count = len(self) if rows is None else len(rows)
        upper = np.empty((len(queries), count), np.float32)
        for start, numbers, vectors in self._chunks(rows):
            product_bounds(queries, numbers, vectors, out=upper[:, start : start + len(vectors)])
        return upper

    def _chunks(
        self, rows: NDArray[np.int64] | None
    ) -> Iterator[tuple[int, NDArray[np.int64], Embeddings]]:
        """Yield where a chunk starts, its row numbers (n,) and its vectors (n, D)."""
        for start in range(0, len(self) if rows is None else len(rows), self.chunk):
            stop = min(start + self.chunk, len(self) if rows is None else len(rows))
            numbers = np.arange(start, stop) if rows is None else rows[start:stop]
            first, last = int(numbers[0]), int(numbers[-1])
            if last - first == stop - start - 1:
                yield start, numbers, self.vectors.span(first, last + 1)
            else:
                yield start, numbers, self.vectors.take(numbers)


class Bounded(Protocol):
    """An index that tells for each row the most that its score can be."""

    vectors: Vectors

    def bounds(self, queries: Embeddings, rows: NDArray[np.int64] | None) -> NDArray[np.float32]:
        """Return ``(Q, n)``."""
        ...


def ranked_by_bounds(
    index: Bounded,
    queries: Embeddings,
    k: int,
    *,
    rows: NDArray[np.int64] | None,
    without: NDArray[np.int64] | None,
    groups: NDArray[np.integer] | None,
    tighter: Bounded | None = None,
) -> list[Ranked]:
    """Answer `Index.rank` with an index that knows bounds; a bounded number of them at once.

    Args:
        tighter: Knows bounds that leave hardly more than the answer; dearer than those of `index`.
    """
    vectors = index.vectors
    queries = checked_queries(queries, vectors.dim, k)
    if rows is not None:
        rows = checked_rows(rows, len(vectors))
        if without is not None and len(without):
            rows = np.setdiff1d(rows, checked_rows(without, len(vectors)), assume_unique=True)
    elif without is not None:
        without = checked_rows(without, len(vectors))
    count = len(vectors) if rows is None else len(rows)
    if k == 0 or count == 0:
        return [(np.empty(0, np.int64), np.empty(0, np.float32)) for _ in queries]

    def bounds_by(which: Bounded, some: Embeddings) -> NDArray[np.float32]:
        upper = which.bounds(some, rows)
        if rows is None and without is not None and len(without):
            upper[:, without] = -np.inf
        return upper

    def answer(query: NDArray[np.float32], upper: NDArray[np.float32]) -> Ranked:
        def score(numbers: NDArray[np.int64]) -> NDArray[np.float32]:
            return cosines(vectors, numbers, query)

        def tight() -> NDArray[np.float32]:
            row: NDArray[np.float32] = bounds_by(tighter or index, query[None])[0]
            return row

        return nearest(
            upper, k, score, rows=rows, groups=groups, tighter=tight if tighter else None
        )

    ranked = []
    step = max(1, BOUNDS_AT_ONCE // count)
    for start in range(0, len(queries), step):
        block = queries[start : start + step]
        for query, upper in zip(block, bounds_by(index, block), strict=True):
            ranked.append(answer(query, upper))
    return ranked


def product_bounds(
    queries: Embeddings,
    rows: NDArray[np.int64],
    vectors: Embeddings,
    *,
    out: NDArray[np.float32],
) -> None:
    """Write ``(Q, n)`` products in float32, raised by their largest rounding error, to `out`."""
    with np.errstate(invalid="ignore", over="ignore"):
        if len(queries) == 1:
            out[0] = vectors @ queries[0]
        else:
            out[:] = queries @ vectors.T  # (Q, n)
    if not np.isfinite(out).all():
        raise not_finite(rows, vectors)
    # A product of D float32 terms of total size 1 errs by at most D/2 ulp; scores are rounded.
    out += np.float32((vectors.shape[1] / 2 + 4) * np.finfo(np.float32).eps)
