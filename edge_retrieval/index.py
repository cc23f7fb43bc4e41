"""Which stored vectors are nearest to a query: exactly (`FlatIndex`), or through an HNSW graph.

Both give the same scores for the same pair: whatever finds the candidates, each is scored again in
float64 and rounded once. A record of a search can so be replayed to the last bit, on any chunk
size, in any batch of queries.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_retrieval import graph_file
from edge_retrieval.arrays import Embeddings, Rows, Scores
from edge_retrieval.errors import ConfigError, RegisterError

GRAPH_FROM = 200_000
"""Figures from which a graph pays.

Exact search of 100,000 x 128 takes about 6 ms on one core and needs no build, no memory of its own
and no care under a filter; the graph takes 0.2 ms but 40 s to build and 66 MB resident. A person
does not see 6 ms; from about 200,000 vectors on the exact scan begins to be felt.
"""

CHUNK = 65_536  # vectors compared at once: bounds memory, and 65,536 x 128 floats still stream
QUERIES_AT_ONCE = 64  # with CHUNK: 16 MB of similarities
RESCORED_AT_ONCE = 8_192  # vectors widened to float64 at once: 8 MB at 128 dimensions


def graph_pays(count: int) -> bool:
    """Tell whether a graph over `count` vectors is worth its build and its memory."""
    return count >= GRAPH_FROM


class Index(Protocol):
    """Vectors that can be searched; a row number is a vector's place in the matrix."""

    def __len__(self) -> int:
        """Return how many vectors there are."""
        ...

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        ...

    def search(
        self, queries: Embeddings, k: int, *, rows: NDArray[np.int64] | None = None
    ) -> tuple[Rows, Scores]:
        """Return the `min(k, candidates)` nearest rows of each query, best first.

        Args:
            queries: ``(Q, D)``, finite, rows of length 1; Q may be 0.
            k: How many, at least 0.
            rows: The candidates, ascending without repeats; None: all. Then the answer is exact.

        Returns:
            ``(Q, K)`` rows and ``(Q, K)`` cosines in [-1, 1]; of equal scores the smaller row
            comes first.

        Raises:
            ValueError: Arguments of the wrong kind: our own mistake.
            RegisterError: A stored vector is not finite: the file is damaged.
        """
        ...


class FlatIndex:
    """Exact search over a matrix in memory or memory-mapped.

    The answer depends on neither chunking nor the other queries of a batch: a float32 matrix
    product, whose last bits depend on both, only chooses candidates, with a margin above its
    largest rounding error; scores in float64 decide.

    Args:
        vectors: ``(N, D)`` float32, rows of length 1; N may be 0. Not copied.
        chunk: Vectors compared at once.
    """

    def __init__(self, vectors: Embeddings, *, chunk: int = CHUNK) -> None:
        if vectors.ndim != 2 or vectors.dtype != np.float32 or chunk < 1:
            raise ValueError(f"vectors must be (N, D) float32, not {vectors.shape} {vectors.dtype}")
        self.vectors = vectors
        self.chunk = chunk

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def dim(self) -> int:
        return int(self.vectors.shape[1])

    def search(
        self, queries: Embeddings, k: int, *, rows: NDArray[np.int64] | None = None
    ) -> tuple[Rows, Scores]:
        """See `Index.search`."""
        queries = _checked_queries(queries, self.dim, k)
        if rows is not None:
            rows = _checked_rows(rows, len(self))
        width = min(k, len(self) if rows is None else len(rows))
        found = np.empty((len(queries), width), np.int64)
        scores = np.empty((len(queries), width), np.float32)
        if width == 0:
            return found, scores
        for start in range(0, len(queries), QUERIES_AT_ONCE):
            block = queries[start : start + QUERIES_AT_ONCE]
            for offset, (best, cosines) in enumerate(self._nearest(block, width, rows)):
                found[start + offset], scores[start + offset] = best, cosines
        return found, scores

    def _nearest(
        self, queries: Embeddings, k: int, rows: NDArray[np.int64] | None
    ) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Return rows and scores of the k best for each query, k at most the candidates."""
        nothing = np.empty(0, np.int64), np.empty(0, np.float32)
        best = [nothing] * len(queries)
        # A product of D float32 terms of total size 1 errs by at most D/2 ulp; two are compared.
        margin = np.float32((self.dim + 4) * np.finfo(np.float32).eps)
        for numbers, vectors in self._chunks(rows):
            with np.errstate(invalid="ignore", over="ignore"):
                similarity = queries @ vectors.T  # (Q, n)
            if not np.isfinite(similarity).all():
                raise _not_finite(numbers, vectors)
            for q, row in enumerate(similarity):
                floor = best[q][1][-1] if len(best[q][0]) == k else np.float32(-np.inf)
                if len(row) > k:
                    floor = max(floor, np.partition(row, len(row) - k)[len(row) - k])
                near = np.flatnonzero(row >= floor - margin)
                if len(near):
                    known, scores = best[q]
                    scores = np.concatenate([scores, _cosines(vectors, near, queries[q])])
                    best[q] = _first(np.concatenate([known, numbers[near]]), scores, k)
        return best

    def _chunks(
        self, rows: NDArray[np.int64] | None
    ) -> Iterator[tuple[NDArray[np.int64], Embeddings]]:
        """Yield row numbers (n,) and their vectors (n, D), a bounded number at a time."""
        if rows is None:
            for start in range(0, len(self), self.chunk):
                vectors = np.asarray(self.vectors[start : start + self.chunk])
                yield np.arange(start, start + len(vectors), dtype=np.int64), vectors
        else:
            for start in range(0, len(rows), self.chunk):
                numbers = rows[start : start + self.chunk]
                yield numbers, np.asarray(self.vectors[numbers])


class HnswIndex:
    """Search through a graph of hnswlib: faster, nearly exact, and a cache of the vectors.

    Filtered queries, and those for which the graph cannot reach k vectors, are answered exactly.
    Scores are those of `FlatIndex`; a neighbour may be missed, never wrongly scored. Of vectors
    that tie at the last place the graph may return any.

    Use `build` or `load`.
    """

    def __init__(self, graph: Any, vectors: Embeddings, settings: dict[str, int]) -> None:
        self._graph = graph
        self._exact = FlatIndex(vectors)
        self.settings = settings

    @classmethod
    def build(
        cls,
        vectors: Embeddings,
        *,
        m: int = 16,
        ef_construction: int = 200,
        ef: int = 64,
        seed: int = 0,
        threads: int = 1,
    ) -> HnswIndex:
        """Build the graph; about 0.4 s of one core per 1,000 vectors of 128 dimensions at 100,000.

        Args:
            vectors: ``(N, D)`` float32, finite, rows of length 1. Kept, not copied.
            m, ef_construction, ef: HNSW's own; see Malkov and Yashunin, arXiv:1603.09320.
            seed: Of the levels.
            threads: With more than one the graph differs from run to run.

        Raises:
            ConfigError: m or ef makes no sense.
            RegisterError: A vector is not finite.
        """
        if not (2 <= m <= graph_file.LARGEST and 1 <= ef <= graph_file.LARGEST):
            raise ConfigError(
                f"m {m} or ef {ef} makes no sense",
                hint=f"choose m from 2 and ef from 1, each to {graph_file.LARGEST}; usual: 16, 64",
            )
        settings = {
            "m": m, "ef_construction": ef_construction, "ef": ef, "seed": seed, "threads": threads
        }  # fmt: skip
        exact = FlatIndex(vectors)
        graph = _empty_graph(exact.dim)
        graph.init_index(
            max_elements=max(1, len(exact)), M=m, ef_construction=ef_construction, random_seed=seed
        )
        for numbers, piece in exact._chunks(None):
            if not np.isfinite(piece).all():
                raise _not_finite(numbers, piece)
            graph.add_items(piece, numbers, num_threads=threads)
        graph.set_ef(ef)
        return cls(graph, vectors, settings)

    def __len__(self) -> int:
        return len(self._exact)

    @property
    def dim(self) -> int:
        return self._exact.dim

    def search(
        self, queries: Embeddings, k: int, *, rows: NDArray[np.int64] | None = None
    ) -> tuple[Rows, Scores]:
        """See `Index.search`."""
        queries = _checked_queries(queries, self.dim, k)
        width = min(k, len(self))
        if rows is not None or width == 0:
            return self._exact.search(queries, k, rows=rows)
        found = np.empty((len(queries), width), np.int64)
        scores = np.empty((len(queries), width), np.float32)
        for q, query in enumerate(queries):
            try:
                reached, _ = self._graph.knn_query(query[None], k=width, num_threads=1)
            except RuntimeError:  # fewer than k can be reached from the entry point
                found[q : q + 1], scores[q : q + 1] = self._exact.search(query[None], k)
            else:
                near = reached[0].astype(np.int64)
                cosines = _cosines(self._exact.vectors, near, query)
                found[q], scores[q] = _first(near, cosines, width)
        return found, scores

    def save(self, path: Path) -> None:
        """Write the graph to `path` and what it must agree with to `path`.json; all or nothing.

        A kill between the two leaves a pair that `load` refuses; nothing else is lost.

        Raises:
            RegisterError: The disk is full or the folder cannot be written.
        """
        graph_file.write(path, self._graph, self._exact.vectors, self.settings)

    @classmethod
    def load(cls, path: Path, vectors: Embeddings) -> HnswIndex:
        """Read a graph that `save` wrote over the same vectors.

        Everything is compared before hnswlib sees the file: it answers nonsense from a graph of
        another dimension, and a damaged file can overwrite its memory.

        Raises:
            RegisterError: The file is missing, damaged, or of other vectors.
        """
        exact = FlatIndex(vectors)
        settings = graph_file.check(path, vectors)
        graph = _empty_graph(exact.dim)
        try:
            graph.load_index(str(path), max_elements=max(1, len(exact)))
        except RuntimeError as error:
            raise graph_file.bad(path, f"hnswlib cannot read the graph: {error}") from error
        graph.set_ef(settings["ef"])  # hnswlib forgets ef when it saves
        return cls(graph, vectors, settings)


def _empty_graph(dim: int) -> Any:
    import hnswlib

    # Of rows of length 1 the inner product is the cosine; space "cosine" would copy to normalise.
    return hnswlib.Index(space="ip", dim=dim)


def _checked_queries(queries: Embeddings, dim: int, k: int) -> Embeddings:
    if queries.ndim != 2 or queries.shape[1] != dim:
        raise ValueError(f"queries must be (Q, {dim}), not {queries.shape}")
    if k < 0:
        raise ValueError(f"k must be at least 0, not {k}")
    queries = np.ascontiguousarray(queries, np.float32)
    if not np.isfinite(queries).all():
        raise ValueError("a query holds a number that is not finite")
    return queries


def _checked_rows(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    rows = np.asarray(rows)
    if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
        raise ValueError(f"rows must be (n,) integers, not {rows.shape} {rows.dtype}")
    rows = rows.astype(np.int64, copy=False)
    if rows.size and (rows[0] < 0 or rows[-1] >= count or (np.diff(rows) <= 0).any()):
        raise ValueError(f"rows must ascend without repeats within 0..{count - 1}")
    return rows


def _cosines(
    vectors: Embeddings, rows: NDArray[np.int64], query: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the cosine of each of `rows` to the query (n,), whatever its neighbours are."""
    pieces = [
        # Not a matrix product: its order of summation depends on the shape.
        (vectors[rows[start : start + RESCORED_AT_ONCE]].astype(np.float64) * query).sum(axis=1)
        for start in range(0, len(rows), RESCORED_AT_ONCE)
    ]
    cosines: NDArray[np.float32] = np.clip(np.concatenate(pieces), -1.0, 1.0).astype(np.float32)
    return cosines


def _first(
    rows: NDArray[np.int64], scores: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    order = np.lexsort((rows, -scores))[:k]
    return rows[order], scores[order]


def _not_finite(numbers: NDArray[np.int64], vectors: Embeddings) -> RegisterError:
    bad = numbers[~np.isfinite(vectors).all(axis=1)]
    which = f"vector {bad[0]}" if len(bad) else f"a vector among {numbers[0]}..{numbers[-1]}"
    return RegisterError(f"{which} is not finite", hint="run: edge-ret register verify")
