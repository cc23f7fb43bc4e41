"""Search through a graph of hnswlib over the leading directions: fastest, and nearly exact."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.arrays import Embeddings, Rows, Scores
from edge_retrieval.errors import ConfigError, MissingExtraError
from edge_retrieval.index import graph_file
from edge_retrieval.index.building import directions_holding
from edge_retrieval.index.exact import FlatIndex, Index, search
from edge_retrieval.index.nearest import Ranked, best_of_each
from edge_retrieval.index.stored import (
    Vectors,
    as_vectors,
    checked_queries,
    checked_rows,
    cosines,
    not_finite,
)
from edge_retrieval.progress import Track, silent

KEPT = 0.975
"""Share of the vectors' squared length that the graph's directions hold.

Of the bundle `small` these are 32 of 128: the graph of a million is then 245 MB instead of 660,
and is built in a quarter of the time. What it finds is scored at full length.
"""
ADDED_AT_ONCE = 16_384  # vectors
ASKED_AT_MOST = 4_096  # above this many candidates the exact search is faster
MEASURED = 100  # queries from which the overlap with exact search is measured


class HnswIndex:
    """Search through a graph: faster, nearly exact, and a cache of the vectors.

    Filtered queries, and those for which the graph cannot reach enough vectors, are answered
    exactly. Scores are those of `FlatIndex`; a neighbour may be missed, never wrongly scored. Of
    vectors that tie at the last place the graph may return any.

    Use `build` or `load`.

    Attributes:
        settings: m, ef_construction, ef, seed, threads.
        overlap: Share of the ten nearest that it finds, measured on rows of its own when it was
            made; None: it was not.
    """

    def __init__(
        self,
        graph: Any,
        directions: NDArray[np.float64],
        exact: Index,
        vectors: Vectors,
        settings: Mapping[str, int],
        overlap: float | None = None,
    ) -> None:
        self._graph = graph
        self._directions = directions
        self._exact = exact
        self._count = int(graph.element_count)
        self.vectors = vectors
        self.settings = settings
        self.overlap = overlap

    @classmethod
    def build(
        cls,
        vectors: Vectors | Embeddings,
        *,
        m: int = 12,
        ef_construction: int = 120,
        ef: int = 160,
        seed: int = 0,
        threads: int = 1,
        exact: Index | None = None,
        track: Track = silent,
    ) -> HnswIndex:
        """Build the graph; about 0.1 s of one core per 1,000 vectors of 128 dimensions.

        Args:
            vectors: ``(N, D)`` float32, finite, rows of length 1. Kept, not copied.
            m, ef_construction, ef: HNSW's own; see Malkov and Yashunin, arXiv:1603.09320.
            seed: Of the levels.
            threads: With more than one the graph differs from run to run.
            exact: Answers what the graph cannot; None: a `FlatIndex`.
            track: Shows progress.

        Raises:
            ConfigError: m or ef makes no sense.
            MissingExtraError: hnswlib is not installed, as on a Raspberry Pi.
            RegisterError: A vector is not finite.
        """
        if not (2 <= m <= graph_file.LARGEST and 1 <= ef <= graph_file.LARGEST):
            raise ConfigError(
                f"m {m} or ef {ef} makes no sense",
                hint=f"choose m from 2 and ef from 1, each to {graph_file.LARGEST}; usual: 12, 160",
            )
        _hnswlib()  # before a million vectors are read for nothing
        vectors = as_vectors(vectors)
        settings = {
            "m": m, "ef_construction": ef_construction, "ef": ef, "seed": seed, "threads": threads
        }  # fmt: skip
        directions = directions_holding(vectors, KEPT)
        graph = _empty_graph(directions.shape[1])
        graph.init_index(
            max_elements=max(1, len(vectors)),
            M=m,
            ef_construction=ef_construction,
            random_seed=seed,
        )
        starts = range(0, len(vectors), ADDED_AT_ONCE)
        for start in track(starts, "Building the graph", len(starts)):
            piece = vectors.span(start, min(start + ADDED_AT_ONCE, len(vectors)))
            numbers = np.arange(start, start + len(piece))
            if not np.isfinite(piece).all():
                raise not_finite(numbers, piece)
            graph.add_items(_reduced(piece, directions), numbers, num_threads=threads)
        graph.set_ef(ef)
        return cls(graph, directions, exact or FlatIndex(vectors), vectors, settings)

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
        queries = checked_queries(queries, self.dim, k)
        if rows is not None or k == 0 or len(self) == 0:
            return self._exact.rank(queries, k, rows=rows, without=without, groups=groups)
        gone = np.empty(0, np.int64) if without is None else checked_rows(without, len(self))
        beyond = np.arange(self._count, len(self))  # added after the graph was made
        ranked = []
        for query in queries:
            found = self._reached(query, k, gone, groups)
            if found is None:
                [found] = self._exact.rank(query[None], k, without=without, groups=groups)
            elif len(beyond):
                [more] = self._exact.rank(
                    query[None], k, rows=beyond, without=without, groups=groups
                )
                found = _merged(found, more, k, groups)
            ranked.append(found)
        return ranked

    def _reached(
        self,
        query: NDArray[np.float32],
        k: int,
        gone: NDArray[np.int64],
        groups: NDArray[np.integer] | None,
    ) -> Ranked | None:
        """Return what the graph leads to; None if that is not enough."""
        asked = _reduced(query[None], self._directions)
        # Shortened vectors rank nearly as whole ones do; views of one design are near one another.
        many = (4 if groups is None else 16) * k + len(gone)
        while many <= ASKED_AT_MOST:
            try:
                reached, _ = self._graph.knn_query(asked, k=min(many, self._count), num_threads=1)
            except RuntimeError:  # fewer can be reached from the entry point
                return None
            rows = reached[0].astype(np.int64)
            rows = rows[~np.isin(rows, gone)] if len(gone) else rows
            scores = cosines(self.vectors, rows, query)
            best = best_of_each(rows, scores, k, groups)
            if len(best[0]) == k or many >= self._count:
                return best
            many *= 4
        return None

    def measure(self) -> float:
        """Measure the overlap with exact search at ten, on rows of its own; keep and return it."""
        rows = np.unique(np.linspace(0, len(self) - 1, MEASURED).astype(np.int64))
        asked = self.vectors.take(rows)
        found = self.rank(asked, 11)
        exact = self._exact.rank(asked, 11)
        shares = [
            len(np.intersect1d(f[f != row], e[e != row][:10])) / max(1, len(e[e != row][:10]))
            for row, (f, _), (e, _) in zip(rows, found, exact, strict=True)
        ]
        self.overlap = float(np.mean(shares))
        return self.overlap

    def save(self, path: Path, *, of: str = "") -> None:
        """Write the graph to `path` and what it must agree with to `path`.json; all or nothing.

        A kill between the two leaves a pair that `load` refuses; nothing else is lost.

        Args:
            path: Where.
            of: What names exactly these vectors.

        Raises:
            RegisterError: The disk is full or the folder cannot be written.
        """
        side = graph_file.Side(
            count=self._count, vectors=of, directions=self._directions, overlap=self.overlap,
            settings=self.settings,
        )  # fmt: skip
        graph_file.write(path, self._graph, side)

    @classmethod
    def load(
        cls,
        path: Path,
        vectors: Vectors | Embeddings,
        *,
        of: Callable[[int], str] | None = None,
        exact: Index | None = None,
    ) -> HnswIndex:
        """Load a graph over `vectors`, or over the first of them, after comparing both.

        Args:
            path: Where it is.
            vectors: ``(N, D)`` float32, rows of length 1.
            of: Gives what names exactly the first so many vectors; None: nothing does.
            exact: Answers what the graph cannot; None: a `FlatIndex`.

        Raises:
            MissingExtraError: hnswlib is not installed, as on a Raspberry Pi.
            RegisterError: The file is missing, damaged, or of other vectors.
        """
        _hnswlib()  # before a large file is read for nothing
        vectors = as_vectors(vectors)
        side = graph_file.check(path, vectors, of=of or (lambda count: ""))
        graph = _empty_graph(side.directions.shape[1])
        try:
            graph.load_index(str(path), max_elements=max(1, side.count))
        except RuntimeError as error:
            raise graph_file.bad(path, f"hnswlib cannot read the graph: {error}") from error
        graph.set_ef(side.settings["ef"])  # hnswlib forgets ef when it saves
        exact = exact or FlatIndex(vectors)
        return cls(graph, side.directions, exact, vectors, side.settings, side.overlap)


def _merged(some: Ranked, more: Ranked, k: int, groups: NDArray[np.integer] | None) -> Ranked:
    rows, scores = np.concatenate([some[0], more[0]]), np.concatenate([some[1], more[1]])
    return best_of_each(rows, scores, k, groups)


def _reduced(vectors: Embeddings, directions: NDArray[np.float64]) -> Embeddings:
    return np.ascontiguousarray((vectors @ directions).astype(np.float32))


def _empty_graph(dim: int) -> Any:
    # Of rows of length 1 the inner product is the cosine; space "cosine" would copy to normalise.
    return _hnswlib().Index(space="ip", dim=dim)


def _hnswlib() -> Any:
    try:
        import hnswlib
    except ModuleNotFoundError as error:
        if error.name != "hnswlib":
            raise
        raise MissingExtraError.of("a graph", "graph") from error
    return hnswlib
