"""The vectors that an index answers from, wherever they lie, and the scores of some of them."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.arrays import Embeddings
from edge_retrieval.errors import RegisterError

RESCORED_AT_ONCE = 8_192  # vectors widened to float64 at once: 8 MB at 128 dimensions


class Vectors(Protocol):
    """Stored vectors: `(N, D)` float32, rows of length 1; a row number is a vector's place."""

    def __len__(self) -> int:
        """Return N."""
        ...

    @property
    def dim(self) -> int:
        """D."""
        ...

    def take(self, rows: NDArray[np.int64]) -> Embeddings:
        """Return the vectors of some rows, ``(n, D)``; few: each may be a read of its own."""
        ...

    def span(self, start: int, stop: int) -> Embeddings:
        """Return the vectors of the rows from `start` to before `stop`."""
        ...


class ArrayVectors:
    """Vectors in memory, or memory-mapped; not copied.

    Args:
        array: ``(N, D)`` float32; N may be 0.
    """

    def __init__(self, array: Embeddings) -> None:
        if array.ndim != 2 or array.dtype != np.float32:
            raise ValueError(f"vectors must be (N, D) float32, not {array.shape} {array.dtype}")
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    @property
    def dim(self) -> int:
        return int(self.array.shape[1])

    def take(self, rows: NDArray[np.int64]) -> Embeddings:
        """See `Vectors.take`."""
        return np.asarray(self.array[rows])

    def span(self, start: int, stop: int) -> Embeddings:
        """See `Vectors.span`."""
        return np.asarray(self.array[start:stop])


def as_vectors(vectors: Vectors | Embeddings) -> Vectors:
    """Return what an index was given as `Vectors`."""
    return ArrayVectors(vectors) if isinstance(vectors, np.ndarray) else vectors


def cosines(
    vectors: Vectors, rows: NDArray[np.int64], query: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the cosine of each of `rows` to the query (D,), whatever its neighbours are.

    Raises:
        RegisterError: A vector is not finite.
    """
    scores: NDArray[np.float32] = all_cosines(vectors, rows, query[None])[0]
    return scores


def all_cosines(
    vectors: Vectors, rows: NDArray[np.int64], queries: Embeddings
) -> NDArray[np.float32]:
    """Return ``(Q, n)``: what `cosines` tells of each query (Q, D); the rows are read once."""
    scores = np.empty((len(queries), len(rows)), np.float32)
    for start in range(0, len(rows), RESCORED_AT_ONCE):
        piece = rows[start : start + RESCORED_AT_ONCE]
        taken = vectors.take(piece).astype(np.float64)
        for query, own in zip(queries, scores, strict=True):
            # Not a matrix product: its order of summation depends on the shape.
            exact = (taken * query).sum(axis=1)
            if not np.isfinite(exact).all():
                raise not_finite(piece, vectors.take(piece))
            own[start : start + len(piece)] = np.clip(exact, -1.0, 1.0)
    return scores


def not_finite(rows: NDArray[np.int64], vectors: Embeddings) -> RegisterError:
    """Say which of some vectors is not finite."""
    bad = rows[~np.isfinite(vectors).all(axis=1)]
    which = f"vector {bad[0]}" if len(bad) else f"a vector among {rows[0]}..{rows[-1]}"
    return RegisterError(f"{which} is not finite", hint="run: edge-ret register verify")


def checked_queries(queries: Embeddings, dim: int, k: int) -> Embeddings:
    """Return the queries, contiguous; ValueError if they or k are of the wrong kind."""
    if queries.ndim != 2 or queries.shape[1] != dim:
        raise ValueError(f"queries must be (Q, {dim}), not {queries.shape}")
    if k < 0:
        raise ValueError(f"k must be at least 0, not {k}")
    queries = np.ascontiguousarray(queries, np.float32)
    if not np.isfinite(queries).all():
        raise ValueError("a query holds a number that is not finite")
    return queries


def checked_rows(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return row numbers as int64; ValueError unless they ascend without repeats below `count`."""
    rows = np.asarray(rows)
    if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
        raise ValueError(f"rows must be (n,) integers, not {rows.shape} {rows.dtype}")
    rows = rows.astype(np.int64, copy=False)
    if rows.size and (rows[0] < 0 or rows[-1] >= count or (np.diff(rows) <= 0).any()):
        raise ValueError(f"rows must ascend without repeats within 0..{count - 1}")
    return rows
