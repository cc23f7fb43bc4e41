"""Making a first pass: which directions, how many of them, and the bytes of every row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.arrays import Embeddings
from edge_retrieval.index.coding import STEPS, Coding
from edge_retrieval.index.first_pass import PassIndex
from edge_retrieval.index.pass_file import FirstPass, write_pass
from edge_retrieval.index.stored import Vectors, as_vectors

AT_ONCE = 16_384  # rows encoded at once: 16 MB in float64 at 128 dimensions
SAMPLE = 16_384  # rows from which the directions are taken, and the costs of a length
QUERIES = 32  # rows that are asked for, to see how many others must be compared
WIDTHS = (31, 47, 63, 95)
"""Coordinates that may be kept, or all; with the rest's length multiples of 16 bytes, which a
matrix product likes. Fewer are cheaper for what is registered, but a drawing from outside has more
of itself in the other directions: of 100,000 rows 15 left 14,663 to be scored, 31 left 39."""

HEIGHT = 40
"""So many rows, about, are met before ten designs are: views of a design are near-duplicates."""
COST_OF_BYTE = 0.5e-9
"""Seconds that a byte of the pass costs a search: its checksum, its page, its product."""
COST_OF_ROW = 2e-6
"""Seconds that it costs to read a row by its place, to check it and to score it."""


def build_pass(path: Path, vectors: Vectors | Embeddings, *, of: str) -> bool:
    """Write a first pass over all vectors, all or nothing.

    Args:
        path: Where.
        vectors: ``(N, D)`` float32.
        of: What names exactly these vectors; whoever opens the pass compares it.

    Returns:
        Whether it was written: not if a vector is not finite.

    Raises:
        RegisterError: The disk is full or the folder cannot be written.
    """
    vectors = as_vectors(vectors)
    encoded = encode(vectors, len(vectors)) if len(vectors) else None
    if encoded is None:
        return False
    coding, coded = encoded
    compared = _compared(FirstPass(path, coding, of, 0.0, coded, np.empty(0, np.uint32)), vectors)
    write_pass(path, coding, coded, vectors=of, compared=compared)
    return True


class _Counting:
    """Vectors that count how many of them are taken one by one."""

    def __init__(self, vectors: Vectors) -> None:
        self.taken = 0
        self.span, self.dim, self._vectors = vectors.span, vectors.dim, vectors

    def __len__(self) -> int:
        return len(self._vectors)

    def take(self, rows: NDArray[np.int64]) -> Embeddings:
        self.taken += len(rows)
        return self._vectors.take(rows)


def _compared(first: FirstPass, vectors: Vectors) -> float:
    """Return how many rows a search for ten designs has to score, about, on average."""
    counting = _Counting(vectors)
    asked = _sample(vectors, len(vectors), SAMPLE)
    asked = asked[:: max(1, len(asked) // QUERIES)][:QUERIES]
    PassIndex(first, counting).rank(asked, HEIGHT)
    return counting.taken / len(asked)


def encode(vectors: Vectors, rows: int) -> tuple[Coding, NDArray[np.uint8]] | None:
    """Encode the first `rows` vectors, in as few bytes as searching them pays for.

    Returns:
        The coding and ``(rows, P + 1)`` bytes; None if a vector is not finite or overlong.
    """
    sample = _sample(vectors, rows, SAMPLE)
    if not np.isfinite(sample).all():
        return None
    wide = sample.astype(np.float64)
    turned = np.linalg.eigh(wide.T @ wide)[1][:, ::-1]  # (D, D), the longest direction first
    width = _width(vectors, rows, sample, turned)
    if width is None:
        return None
    directions = np.ascontiguousarray(turned[:, :width])
    lowest, highest, longest = np.full(width, np.inf), np.full(width, -np.inf), 0.0
    for _, inside, rests in _turned(vectors, rows, directions):
        lowest = np.minimum(lowest, inside.min(axis=0))
        highest = np.maximum(highest, inside.max(axis=0))
        longest = max(longest, float(rests.max()))
    if not np.isfinite([*lowest, *highest, longest]).all():
        return None
    step = np.maximum((highest - lowest) / STEPS, np.finfo(np.float32).tiny)
    rest = longest / (STEPS - 1)  # one step is kept for rounding up
    error = 0.0
    coded = np.empty((rows, width + 1), np.uint8)
    for start, inside, rests in _turned(vectors, rows, directions):
        stop = start + len(inside)
        steps = np.clip(np.rint((inside - lowest) / step), 0, STEPS)
        coded[start:stop, :-1] = steps
        coded[start:stop, -1] = np.ceil(rests / rest) if rest else 0
        error = max(error, float(np.linalg.norm(inside - (lowest + steps * step), axis=1).max()))
    return Coding(directions, lowest, step, rest, error * (1 + 1e-9)), coded


def directions_holding(vectors: Vectors, share: float) -> NDArray[np.float64]:
    """Return ``(D, P)``: the fewest orthonormal directions that hold a share of what there is.

    P is a multiple of 8, or D.
    """
    if not len(vectors):
        return np.eye(vectors.dim)
    sample = _sample(vectors, len(vectors), SAMPLE).astype(np.float64)
    squares, turned = np.linalg.eigh(sample.T @ sample)
    held = np.cumsum(squares[::-1]) / max(squares.sum(), np.finfo(np.float64).tiny)
    width = min(vectors.dim, -(-(int(np.searchsorted(held, share)) + 1) // 8) * 8)
    return np.ascontiguousarray(turned[:, ::-1][:, :width])


def _turned(
    vectors: Vectors, rows: int, directions: NDArray[np.float64]
) -> Iterator[tuple[int, NDArray[np.float64], NDArray[np.float64]]]:
    """Yield the first row, ``(n, P)`` coordinates and ``(n,)`` lengths of what they leave out."""
    for start in range(0, rows, AT_ONCE):
        piece = vectors.span(start, min(start + AT_ONCE, rows)).astype(np.float64)
        inside = piece @ directions
        piece -= inside @ directions.T
        yield start, inside, np.sqrt(np.einsum("nd,nd->n", piece, piece))


def _sample(vectors: Vectors, rows: int, many: int) -> Embeddings:
    """Return at most `many` rows, in runs spread evenly: a run is read at once."""
    if rows <= many:
        return vectors.span(0, rows)
    runs = 256
    starts = np.linspace(0, rows - many // runs, runs).astype(np.int64)
    return np.concatenate([vectors.span(int(s), int(s) + many // runs) for s in starts])


def _width(
    vectors: Vectors, rows: int, sample: Embeddings, turned: NDArray[np.float64]
) -> int | None:
    """Return how many coordinates make a search cheapest; None if a vector is not finite.

    A query's fortieth best score in all rows is its height; of the sample's rows those whose bound
    without rounding reaches the height would have to be scored.
    """
    asked = sample[:: max(1, len(sample) // QUERIES)][:QUERIES]
    best = np.full((len(asked), HEIGHT), -np.inf, np.float32)
    for start in range(0, rows, AT_ONCE):
        with np.errstate(invalid="ignore", over="ignore"):
            scores = asked @ vectors.span(start, min(start + AT_ONCE, rows)).T  # (Q, n)
        if not np.isfinite(scores).all() or np.abs(scores).max() > 2:
            return None
        best = np.sort(np.concatenate([best, scores], axis=1), axis=1)[:, -HEIGHT:]
    heights = best[:, :1]
    dim = sample.shape[1]
    queries, others = asked @ turned, sample @ turned  # (Q, D), (S, D)
    costs = {}
    for width in [*(w for w in WIDTHS if w < dim), dim]:
        inside = queries[:, :width] @ others[:, :width].T
        tails = np.outer(
            np.linalg.norm(queries[:, width:], axis=1), np.linalg.norm(others[:, width:], axis=1)
        )
        ranges = np.ptp(others[:, :width], axis=0)
        rounding = np.linalg.norm(ranges / STEPS) / np.sqrt(3)  # rarely above, of random errors
        reaching = float((inside + tails + rounding >= heights).mean()) * rows
        costs[width] = rows * (width + 1) * COST_OF_BYTE + reaching * COST_OF_ROW
    best = min(costs, key=lambda width: (costs[width], width))
    return int(best)
