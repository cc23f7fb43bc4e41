"""Rows in a few bytes each, with a bound: how far from the truth what they tell can be.

An encoder's rows lie close to a space of fewer dimensions: of the bundle `small` 32 of 128
directions hold 98 % of what there is. So a row is turned to the principal directions of its
register, the first P coordinates are kept in a byte each, evenly stepped from the least to the
greatest of each coordinate, and one byte more tells how long the rest of the row is, rounded up.

What is left out never makes a bound wrong. With A the P directions, orthonormal, and x^ what the
bytes stand for, the cosine of a query q and a row x is

    q.x = (A'q).x^ + (A'q).(A'x - x^) + (q - AA'q).(x - AA'x)
        <= (A'q).x^ + |A'q| e + |q - AA'q| t            (Cauchy and Schwarz, twice)

with e the longest rounding error of any row and t the length of the row's rest. The last term is
one more coordinate: all of it is one product of bytes with P + 1 weights.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.arrays import Embeddings

STEPS = 255
SLACK = 1e-6  # above what float64 loses here, and the rounding of a score to float32


class Coding(NamedTuple):
    """How rows become bytes, and what the bytes say.

    Attributes:
        directions: ``(D, P)`` float64, orthonormal columns.
        lowest: ``(P,)`` float64: what a byte of 0 stands for.
        step: ``(P,)`` float64: what a byte of 1 adds.
        rest: Length that a step of the last byte stands for.
        error: The longest rounding error of any row within the directions.
    """

    directions: NDArray[np.float64]
    lowest: NDArray[np.float64]
    step: NDArray[np.float64]
    rest: float
    error: float

    @property
    def width(self) -> int:
        """Bytes of a row."""
        return int(self.directions.shape[1]) + 1

    def weights(self, queries: Embeddings) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return ``(Q, P + 1)`` weights and ``(Q,)`` constants: bound = bytes @ weights + constant.

        The constant includes the largest error of that product in float32.
        """
        asked = queries.astype(np.float64)
        inside = asked @ self.directions  # (Q, P)
        outside = np.linalg.norm(asked - inside @ self.directions.T, axis=1)  # (Q,)
        weights = np.empty((len(queries), self.width), np.float32)
        weights[:, :-1] = inside * self.step
        weights[:, -1] = outside * self.rest
        constant = inside @ self.lowest + np.linalg.norm(inside, axis=1) * self.error
        total = STEPS * np.abs(weights.astype(np.float64)).sum(axis=1) + np.abs(constant)
        constant += SLACK + (self.width + 4) * np.finfo(np.float32).eps * total
        return weights, constant.astype(np.float32)
