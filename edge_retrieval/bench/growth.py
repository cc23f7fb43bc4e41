"""What a search costs as a register grows: among made vectors, in processes of their own."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.arrays import Embeddings
from edge_retrieval.bench.course import Course
from edge_retrieval.bench.fresh import ask_fresh
from edge_retrieval.bench.made import MadeVectors
from edge_retrieval.bench.settings import BenchSettings
from edge_retrieval.errors import EdgeRetrievalError, EvaluationError
from edge_retrieval.index import GRAPH, PASS, FlatIndex, Index, Vectors
from edge_retrieval.plan import READ_ONE_BY_ONE
from edge_retrieval.register.files import RowReader
from edge_retrieval.report import Label, Measurement

INDEXES = ("exact", "first pass", "graph")
ROUNDS = 3
"""Fresh processes of each index, in turn."""

QUERIES = 20
"""Queries of each process that are counted."""

WARM_UP = 3
K = 10
VECTORS, ASKED = "vectors.f32", "queries.f32"
ROOM = 3
"""A register of made vectors is made where the disk has so many times their bytes left."""


class FileVectors:
    """Vectors in a file, read as a register reads its own: few by their places, many from a map."""

    def __init__(self, file: Path, dim: int) -> None:
        self._map = _mapped(file, dim)
        self._reader = RowReader(file, dim)

    def __len__(self) -> int:
        return len(self._map)

    @property
    def dim(self) -> int:
        return int(self._map.shape[1])

    def take(self, rows: NDArray[np.int64]) -> Embeddings:
        """See `index.Vectors.take`."""
        few = len(rows) <= READ_ONE_BY_ONE
        return self._reader.read(rows) if few else np.asarray(self._map[rows])

    def span(self, start: int, stop: int) -> Embeddings:
        """See `index.Vectors.span`."""
        return np.asarray(self._map[start:stop])


def make_vectors(folder: Path, figures: int, dim: int, *, graph: bool, seed: int) -> None:
    """Write made vectors, queries, a first pass and perhaps a graph."""
    from edge_retrieval.index.building import build_pass

    made = MadeVectors(figures, seed=seed, dim=dim)
    with (folder / VECTORS).open("wb") as file:
        for rows in made.rows():
            file.write(np.ascontiguousarray(rows, "<f4").data)
    np.ascontiguousarray(made.queries(ROUNDS * QUERIES), "<f4").tofile(folder / ASKED)
    vectors = _mapped(folder / VECTORS, dim)
    build_pass(folder / PASS, vectors, of="")
    if graph:
        from edge_retrieval.index.graph import HnswIndex

        HnswIndex.build(vectors, seed=seed).save(folder / GRAPH)


@contextlib.contextmanager
def _scratch() -> Iterator[str]:
    """Give a folder that goes in the end, even if an interrupt comes while it does."""
    with tempfile.TemporaryDirectory(prefix="edge-ret-bench-") as place:
        try:
            try:
                yield place
            finally:
                shutil.rmtree(place, ignore_errors=True)
        finally:
            shutil.rmtree(place, ignore_errors=True)


def measure_growth(dim: int, settings: BenchSettings, course: Course) -> list[Measurement]:
    """Return `search_cost` and `search_memory` by figures and index.

    Args:
        dim: Numbers in a vector: those of the register's bundle.

    Raises:
        EvaluationError: Not one of them could be measured; the notes say why.
    """
    found: list[Measurement] = []
    failed = ""
    if settings.graph and find_spec("hnswlib") is None:
        course.note("no graph is measured: hnswlib is not installed; pip install hnswlib")
        settings = replace(settings, graph=False)
    with _scratch() as place:
        for figures in settings.figures:
            if shutil.disk_usage(place).free < ROOM * figures * dim * 4:
                course.note(
                    f"search among {figures:,} vectors is not measured: {place} is too full"
                )
                continue
            folder = Path(place) / str(figures)
            folder.mkdir()
            try:
                make_vectors(folder, figures, dim, graph=settings.graph, seed=settings.seed)
                found += _measured(folder, figures, dim, settings, course)
            except (OSError, EdgeRetrievalError) as error:
                failed = str(getattr(error, "strerror", None) or error)
                course.note(f"search among {figures:,} vectors is not measured: {failed}")
            shutil.rmtree(folder, ignore_errors=True)
    if failed and not found:
        raise EvaluationError(f"no search among made vectors: {failed}", hint="make room, or wait")
    return found


def _measured(
    folder: Path, figures: int, dim: int, settings: BenchSettings, course: Course
) -> Iterator[Measurement]:
    indexes = [name for name in INDEXES if name != "graph" or settings.graph]
    answers: dict[str, list[dict[str, Any]]] = {name: [] for name in indexes}
    budget = settings.budget("search_cost") / len(settings.figures)
    for turn in course.rounds(f"Searching among {figures:,}", budget, 1, ROUNDS):
        for index in indexes:
            question = {"folder": str(folder), "index": index, "dim": dim, "turn": turn}
            answers[index].append(ask_fresh("growth", **question))
    for index, told in answers.items():
        labels: dict[str, Label] = {"figures": figures, "index": index}
        seconds = [second for one in told for second in one["seconds"]]
        yield Measurement("search_cost", "s", tuple(seconds), labels)
        held = [one["held"] for one in told if one["held"] is not None]
        if held:
            yield Measurement("search_memory", "B", tuple(held), labels)


def searched(folder: str, index: str, dim: int, turn: int) -> dict[str, Any]:
    """Answer queries; meant for a fresh process.

    Returns:
        "seconds" of each query, and "held": bytes that became resident, None where the system does
        not tell.
    """
    from edge_retrieval.bench.child import held

    asked = np.fromfile(Path(folder) / ASKED, "<f4").reshape(-1, dim)  # (Q, D)
    _opener(index)  # imports are not what it holds
    before = held().get("rss")
    opened = open_index(Path(folder), index, dim)
    for number in range(WARM_UP):
        opened.rank(asked[-1 - number, None], K)
    seconds = []
    for query in asked[turn * QUERIES : (turn + 1) * QUERIES]:
        start = time.perf_counter()
        opened.rank(query[None], K)
        seconds.append(time.perf_counter() - start)
    after = held().get("rss")
    return {
        "seconds": seconds,
        "held": None if before is None or after is None else max(0, after - before),
    }


def open_index(folder: Path, index: str, dim: int) -> Index:
    """Open one of `INDEXES` over the vectors of a folder."""
    return _opener(index)(folder, FileVectors(folder / VECTORS, dim))


def _opener(index: str) -> Callable[[Path, Vectors], Index]:
    """Import what opens an index, and return it."""
    if index == "first pass":
        from edge_retrieval.index.first_pass import PassIndex
        from edge_retrieval.index.pass_file import open_pass

        return lambda folder, vectors: PassIndex(open_pass(folder / PASS), vectors)
    if index == "graph":
        import hnswlib  # noqa: F401  slow to load

        from edge_retrieval.index.graph import HnswIndex

        return lambda folder, vectors: HnswIndex.load(folder / GRAPH, vectors)
    return lambda folder, vectors: FlatIndex(vectors)


def _mapped(file: Path, dim: int) -> Embeddings:
    return np.memmap(file, np.float32, "r").reshape(-1, dim)
