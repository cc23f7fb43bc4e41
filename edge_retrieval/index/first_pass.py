"""Exact search through a first pass: a few bytes a row, and the rows that they cannot rule out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.arrays import Embeddings, Rows, Scores
from edge_retrieval.errors import RegisterError
from edge_retrieval.index.exact import FlatIndex, ranked_by_bounds, search
from edge_retrieval.index.nearest import Ranked
from edge_retrieval.index.pass_file import FirstPass
from edge_retrieval.index.stored import Vectors, as_vectors

WIDENED_AT_ONCE = 131_072  # bytes made float32 at once: they stay in the second cache
GATHERED = 4
"""A part of the rows is gathered if it is below this fraction of all: else all are read."""


class PassIndex:
    """Exact search through a first pass; rows that it does not cover are compared in float32.

    The answer is that of `FlatIndex`, to the last bit.

    Args:
        first: The pass, of these vectors.
        vectors: ``(N, D)`` float32, rows of length 1; at least as many as the pass covers.
        flat: Compares rows that the pass does not cover, and all where it tells too little; None:
            a `FlatIndex` of the same vectors.
    """

    def __init__(
        self,
        first: FirstPass,
        vectors: Vectors | Embeddings,
        *,
        flat: FlatIndex | None = None,
    ) -> None:
        self.vectors = as_vectors(vectors)
        self.first = first
        if first.coding.directions.shape[0] != self.vectors.dim or len(first) > len(self.vectors):
            raise RegisterError(
                f"{first.path}: the first pass is of other vectors",
                hint="delete it: the next writer makes it anew",
            )
        self.flat = flat or FlatIndex(self.vectors)
        self._damaged = False

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
        return ranked_by_bounds(
            self, queries, k, rows=rows, without=without, groups=groups, tighter=self.flat
        )

    def bounds(self, queries: Embeddings, rows: NDArray[np.int64] | None) -> NDArray[np.float32]:
        """Return ``(Q, n)``: the most that each score can be."""
        if not self._sound(rows):
            return self.flat.bounds(queries, rows)
        covered = len(self.first)
        many = covered if rows is None else int(np.searchsorted(rows, covered))
        total = len(self) if rows is None else len(rows)
        upper = np.empty((len(queries), total), np.float32)
        if rows is None:
            self._from_pass(queries, 0, covered, upper)
        elif many and int(rows[many - 1] - rows[0]) + 1 == many:
            self._from_pass(queries, int(rows[0]), int(rows[0]) + many, upper)
        elif many * GATHERED > covered:
            whole = np.empty((len(queries), covered), np.float32)
            self._from_pass(queries, 0, covered, whole)
            upper[:, :many] = whole[:, rows[:many]]
        else:
            self._gathered(queries, rows[:many], upper)
        if many < total:
            beyond = np.arange(covered, len(self)) if rows is None else rows[many:]
            upper[:, many:] = self.flat.bounds(queries, beyond)
        return upper

    def _sound(self, rows: NDArray[np.int64] | None) -> bool:
        """Tell whether the pass is what was written, as far as it is needed."""
        try:
            if not self._damaged:
                self.first.check(None if rows is None else rows[rows < len(self.first)])
        except RegisterError:  # a cache: search does without it
            self._damaged = True
        return not self._damaged

    def _from_pass(
        self, queries: Embeddings, start: int, stop: int, upper: NDArray[np.float32]
    ) -> None:
        """Write the bounds of a run of covered rows to the first columns of `upper`."""
        coded = self.first.bytes_of[start:stop]
        weights, constant = self.first.coding.weights(queries)
        step = max(1, WIDENED_AT_ONCE // coded.shape[1])
        wide = np.empty((step, coded.shape[1]), np.float32)
        for first in range(0, len(coded), step):
            piece = coded[first : first + step]
            some = wide[: len(piece)]
            np.copyto(some, piece)
            if len(queries) == 1:
                np.dot(some, weights[0], out=upper[0, first : first + len(piece)])
            else:
                upper[:, first : first + len(piece)] = weights @ some.T
        upper[:, : len(coded)] += constant[:, None]

    def _gathered(
        self, queries: Embeddings, rows: NDArray[np.int64], upper: NDArray[np.float32]
    ) -> None:
        weights, constant = self.first.coding.weights(queries)
        some = self.first.bytes_of[rows].astype(np.float32)
        upper[:, : len(rows)] = weights @ some.T + constant[:, None]
