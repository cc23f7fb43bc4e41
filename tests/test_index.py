"""Both indexes against a sort by plain arithmetic, and the graph file against damage."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_retrieval.arrays import Embeddings
from edge_retrieval.errors import ConfigError, RegisterError
from edge_retrieval.index import ArrayVectors, FlatIndex, exact, graph_file
from edge_retrieval.index.graph import HnswIndex
from edge_retrieval.metrics import overlap_at_k


def unit(vectors: np.ndarray) -> Embeddings:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def clustered(count: int, dim: int = 32, clusters: int = 100, seed: int = 0) -> Embeddings:
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((clusters, dim))
    return unit(centres[rng.integers(0, clusters, count)] + 0.3 * rng.standard_normal((count, dim)))


def tied(count: int, seed: int, dim: int = 4) -> Embeddings:
    """Return rows of length 1 of which many are equal, and others equally far."""
    rng = np.random.default_rng(seed)
    signs = rng.choice(np.array([-0.5, 0.5], np.float32), (count, dim))
    return signs if dim == 4 else unit(signs)


def slow_search(
    vectors: Embeddings, query: np.ndarray, k: int, rows: list[int] | None = None
) -> tuple[list[int], list[np.float32]]:
    scores = {}
    for row in range(len(vectors)) if rows is None else rows:
        cosine = sum(float(a) * float(b) for a, b in zip(vectors[row], query, strict=True))
        scores[row] = np.float32(min(1.0, max(-1.0, cosine)))
    best = sorted(scores, key=lambda row: (-scores[row], row))[:k]
    return best, [scores[row] for row in best]


def same(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> None:
    np.testing.assert_array_equal(a[0], b[0])
    np.testing.assert_array_equal(a[1], b[1])


@pytest.fixture(scope="module")
def vectors() -> Embeddings:
    return clustered(2000)


@pytest.fixture(scope="module")
def graph(vectors: Embeddings) -> HnswIndex:
    return HnswIndex.build(vectors, m=16)


# ------------------------------------------------------------------ exact search


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(0, 60),
    queries=st.integers(0, 4),
    k=st.integers(0, 70),
    chunk=st.integers(1, 70),
    seed=st.integers(0, 2**32 - 1),
    share=st.none() | st.floats(0, 1),
)
def test_exact_search_agrees_with_plain_loops(count, queries, k, chunk, seed, share):
    vectors, asked = tied(count, seed), tied(queries, seed + 1)
    rows = None
    if share is not None:
        rows = np.flatnonzero(np.random.default_rng(seed).random(count) < share)
    found, scores = FlatIndex(vectors, chunk=chunk).search(asked, k, rows=rows)
    width = min(k, count if rows is None else len(rows))
    assert found.shape == scores.shape == (queries, width)
    assert (found.dtype, scores.dtype) == (np.int64, np.float32)
    for q, query in enumerate(asked):
        best, cosines = slow_search(vectors, query, k, None if rows is None else rows.tolist())
        assert found[q].tolist() == best
        assert scores[q].tolist() == cosines


def test_of_equal_scores_the_smaller_row_comes_first():
    vectors = np.tile(unit(np.ones((1, 32))), (500, 1))
    found, _ = FlatIndex(vectors, chunk=64).search(vectors[:2], 5)
    assert found.tolist() == [[0, 1, 2, 3, 4]] * 2


def test_the_answer_depends_neither_on_chunks_nor_on_the_batch(vectors):
    """Near-duplicates, closer than a float32 product can tell: its last bits vary with shape."""
    rng = np.random.default_rng(1)
    close = unit(np.repeat(vectors[:40], 25, axis=0) + 1e-7 * rng.standard_normal((1000, 32)))
    queries = close[::13]
    whole = FlatIndex(close).search(queries, 10)
    for chunk in (1, 7, 64, 999):
        same(FlatIndex(close, chunk=chunk).search(queries, 10), whole)
    for q in range(len(queries)):
        alone = FlatIndex(close).search(queries[q : q + 1], 10)
        same(alone, (whole[0][q : q + 1], whole[1][q : q + 1]))


def test_a_filter_answers_as_an_index_of_the_allowed_rows_alone(vectors):
    rows = np.arange(3, 2000, 7)
    found, scores = FlatIndex(vectors, chunk=100).search(vectors[:20], 10, rows=rows)
    alone, alone_scores = FlatIndex(vectors[rows]).search(vectors[:20], 10)
    same((found, scores), (rows[alone], alone_scores))


def test_a_filter_always_gives_k_if_k_are_allowed(vectors, graph):
    rows = np.array([5, 1999])
    for index in (FlatIndex(vectors), graph):
        found, _ = index.search(vectors[:3], 10, rows=rows)
        assert np.sort(found, axis=1).tolist() == [[5, 1999]] * 3


def test_scores_stay_cosines_where_rounding_makes_a_row_too_long():
    longer = unit(np.ones((1, 32))) * np.float32(1 + 1e-6)
    _, scores = FlatIndex(np.concatenate([longer, -longer])).search(longer, 2)
    assert scores.tolist() == [[1.0, -1.0]]


def test_a_memory_map_answers_as_the_array_does(tmp_path, vectors):
    np.save(tmp_path / "vectors.npy", vectors)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    expected = FlatIndex(vectors).search(vectors[:5], 10)
    same(FlatIndex(mapped, chunk=300).search(vectors[:5], 10), expected)


def test_memory_is_bounded_not_by_the_index(monkeypatch):
    monkeypatch.setattr(exact, "BOUNDS_AT_ONCE", 100_000)
    vectors = clustered(20_000, dim=16)
    index = FlatIndex(vectors, chunk=500)
    tracemalloc.start()
    index.search(vectors[:100], 10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000  # all similarities at once would be 8 MB


def test_an_empty_index_answers_with_no_columns():
    empty = np.empty((0, 8), np.float32)
    queries = unit(np.ones((3, 8)))
    for index in (FlatIndex(empty), HnswIndex.build(empty)):
        found, scores = index.search(queries, 10)
        assert (len(index), index.dim, found.shape, scores.shape) == (0, 8, (3, 0), (3, 0))


def test_wrong_arguments_are_our_own_mistakes(vectors, graph):
    query = vectors[:1]
    for index in (FlatIndex(vectors), graph):
        for bad in (np.nan, np.inf):
            with pytest.raises(ValueError, match="not finite"):
                index.search(np.where(query == query[0, 0], np.float32(bad), query), 1)
        with pytest.raises(ValueError, match=r"\(Q, 32\)"):
            index.search(query[:, :5], 1)
        with pytest.raises(ValueError, match="at least 0"):
            index.search(query, -1)
        for rows in ([2, 1], [1, 1], [-1, 1], [1999, 2000]):
            with pytest.raises(ValueError, match="ascend"):
                index.search(query, 1, rows=np.array(rows))
        with pytest.raises(ValueError, match="integers"):
            index.search(query, 1, rows=np.ones(2000, bool))
    for wrong in (vectors.astype(np.float64), vectors[0]):
        with pytest.raises(ValueError, match="float32"):
            FlatIndex(wrong)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_a_damaged_vector_is_found_not_answered(vectors, number):
    damaged = vectors.copy()
    damaged[1234, 5] = number
    with pytest.raises(RegisterError, match="vector 1234 is not finite"):
        FlatIndex(damaged, chunk=100).search(vectors[:2], 3)
    with pytest.raises(RegisterError, match="vector 1234 is not finite"):
        HnswIndex.build(damaged)


@pytest.mark.parametrize("setting", [{"m": 1}, {"m": 10**6}, {"ef": 0}])
def test_a_setting_that_makes_no_sense_is_an_error(vectors, setting):
    with pytest.raises(ConfigError, match="makes no sense"):
        HnswIndex.build(vectors, **setting)


# ------------------------------------------------------------------ the graph


def test_the_graph_finds_what_exact_search_finds(vectors, graph):
    queries = unit(vectors[:200] + 0.02 * np.random.default_rng(5).standard_normal((200, 32)))
    found, scores = graph.search(queries, 10)
    exact, exact_scores = FlatIndex(vectors).search(queries, 10)
    assert overlap_at_k(found, exact, 10).mean() >= 0.95
    agree = found == exact
    np.testing.assert_array_equal(scores[agree], exact_scores[agree])
    assert (np.diff(scores, axis=1) <= 0).all()


def test_the_same_vectors_give_the_same_graph(tmp_path, vectors, graph):
    for name, index in (("a", graph), ("b", HnswIndex.build(vectors, m=16))):
        index.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_a_saved_graph_answers_as_before(tmp_path, vectors):
    built = HnswIndex.build(vectors, m=4, ef_construction=20, ef=123, seed=7)
    built.save(tmp_path / "graph")
    loaded = HnswIndex.load(tmp_path / "graph", vectors)
    assert loaded.settings == built.settings
    assert loaded._graph.ef == 123  # hnswlib forgets it
    same(loaded.search(vectors[::9], 10), built.search(vectors[::9], 10))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["graph", "graph.json"]


def test_an_empty_graph_can_be_saved(tmp_path):
    empty = np.empty((0, 8), np.float32)
    HnswIndex.build(empty).save(tmp_path / "graph")
    assert len(HnswIndex.load(tmp_path / "graph", empty)) == 0


def test_each_query_of_a_batch_is_answered_as_if_alone(vectors, graph):
    found, scores = graph.search(vectors[:30], 10)
    for q in range(30):
        same(graph.search(vectors[q : q + 1], 10), (found[q : q + 1], scores[q : q + 1]))


def test_more_than_the_graph_can_reach_is_answered_exactly():
    """Copies of one vector link to one another only: the graph falls into islands."""
    vectors = np.repeat(clustered(20, dim=8), 40, axis=0)
    index = HnswIndex.build(vectors, m=2, ef_construction=4, ef=4)
    k = len(vectors)
    with pytest.raises(RuntimeError):
        index._graph.knn_query(vectors[:1], k=k)
    same(index.search(vectors[:1], k + 5), FlatIndex(vectors).search(vectors[:1], k))


def test_filtered_queries_of_a_graph_are_exact(vectors, graph):
    rows = np.arange(0, 2000, 50)
    expected = FlatIndex(vectors).search(vectors[:10], 10, rows=rows)
    same(graph.search(vectors[:10], 10, rows=rows), expected)


# ------------------------------------------------------------------ the graph's file


@pytest.fixture
def saved(tmp_path: Path, graph: HnswIndex) -> Path:
    graph.save(tmp_path / "graph")
    return tmp_path / "graph"


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("place", [0, 9, 40, 95, 5000, -1])
def test_a_flipped_byte_of_the_graph_is_refused(saved, vectors, place):
    flip(saved, place)
    with pytest.raises(RegisterError, match="the graph is damaged: sha256"):
        HnswIndex.load(saved, vectors)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_flipped_byte_of_the_record_is_refused(saved, vectors, share):
    side = graph_file.side_of(saved)
    flip(side, int(share * side.stat().st_size))
    with pytest.raises(RegisterError, match=r"changed since|cannot be read|makes? no sense"):
        HnswIndex.load(saved, vectors)


def test_a_graph_of_another_length_is_refused(saved, vectors):
    saved.write_bytes(saved.read_bytes()[:-1])
    with pytest.raises(RegisterError, match="the graph is damaged: bytes"):
        HnswIndex.load(saved, vectors)


def test_a_graph_of_other_vectors_is_refused(tmp_path, graph, vectors):
    path = tmp_path / "graph"
    graph.save(path, of="these")
    for match, other, name in (
        ("of other vectors: dim", vectors[:, :16], "these"),
        ("of other vectors: count", vectors[:-1], "these"),
        ("of other vectors: vectors", vectors, "those"),
        ("damaged: a vector is not the one given", vectors[::-1], "these"),
    ):
        with pytest.raises(RegisterError, match=match) as error:
            HnswIndex.load(path, other, of=lambda count, name=name: name)
        assert "built again" in error.value.hint
    assert len(HnswIndex.load(path, vectors, of=lambda count: "these")) == 2000


def test_vectors_added_after_the_graph_was_made_are_found(saved, vectors):
    later = np.concatenate([vectors, clustered(300, seed=9)])
    index = HnswIndex.load(saved, later)
    found, _ = index.search(later[2000::7], 10)
    exact_found, _ = FlatIndex(later).search(later[2000::7], 10)
    assert found[:, 0].tolist() == list(range(2000, 2300, 7))
    assert overlap_at_k(found, exact_found, 10).mean() >= 0.95


def test_a_missing_graph_is_refused(saved, vectors):
    saved.unlink()
    with pytest.raises(RegisterError, match="cannot read the graph"):
        HnswIndex.load(saved, vectors)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"[1, 2]", "does not describe a graph"),
        (b"{}", "does not describe a graph"),
        ({"ef": "64"}, "does not describe a graph"),
        ({"count": True}, "does not describe a graph"),
        ({"ef": 0}, "m 16 or ef 0 makes no sense"),
        ({"m": 1}, "m 1 or ef 160 makes no sense"),
        ({"m": 10**30}, "makes no sense"),
        ({"schema": 1}, "schema 1 is not 2"),
        ({"directions": "AAAA"}, "directions make no sense"),
    ],
)
def test_a_record_that_cannot_be_read_is_refused(saved, vectors, content, message):
    side = graph_file.side_of(saved)
    if content is None:
        side.unlink()
    elif isinstance(content, dict):
        side.write_text(graph_file.sealed(json.loads(side.read_text()) | content))
    else:
        side.write_bytes(content)
    with pytest.raises(RegisterError, match=message):
        HnswIndex.load(saved, vectors)


ELEMENT = 4 + 4 * 32 + 4 * 32 + 8  # links' number, 32 links, a vector of 32, its label; m is 16
UPPER = 96 + 2000 * ELEMENT


def upper_levels(content: bytes) -> tuple[list[int], list[int]]:
    """Return each vector's highest level and the byte where its upper links begin."""
    levels, places, place = [], [], UPPER
    for _ in range(2000):
        size = int.from_bytes(content[place : place + 4], "little")
        levels.append(size // (4 * 17))
        places.append(place)
        place += 4 + size
    return levels, places


def crafts(content: bytes) -> dict[str, dict[int, int]]:
    """Return what to write where, as 32-bit words, to lead hnswlib astray."""
    levels, places = upper_levels(content)
    low, high = levels.index(0), next(i for i, level in enumerate(levels) if level)
    astray = 0x7FFF_FFF0
    row_0 = {96 + ELEMENT + 132 + i: int.from_bytes(content[228 + i : 232 + i], "little")
             for i in range(0, 136, 4)}  # fmt: skip
    return {
        "more elements": {16: astray},
        "larger elements": {24: ELEMENT + 4},
        "an entry point outside": {52: astray},
        "an entry point that does not reach the top": {52: low},
        "a higher top": {48: max(levels) + 1},
        "too many links": {96: 33},
        "a link outside": {100: astray},
        "another vector": {228: 0x3F80_0000},
        "a label outside": {96 + ELEMENT - 8: 2000},
        "one vector twice, another never": row_0,
        "upper links beyond the end": {places[high]: 4 * 17 * 1_000_000},
        "upper links of half a level": {places[high]: 4 * 17 + 4},
        "too many upper links": {places[high] + 4: 17},
        "an upper link outside": {places[high] + 4: 1, places[high] + 8: astray},
        "an upper link that leads down": {places[high] + 4: 1, places[high] + 8: low},
    }


def test_a_crafted_graph_with_a_matching_record_never_reaches_hnswlib(saved, vectors):
    """Whoever can change the graph can change the record beside it, too."""
    good, record = saved.read_bytes(), json.loads(graph_file.side_of(saved).read_text())
    for name, words in crafts(good).items():
        content = bytearray(good)
        for place, word in words.items():
            content[place : place + 4] = word.to_bytes(4, "little")
        saved.write_bytes(content)
        changed = record | {"sha256": graph_file.sha256_of(saved)}
        graph_file.side_of(saved).write_text(graph_file.sealed(changed))
        try:
            graph_file.check(
                saved, ArrayVectors(vectors), of=lambda count: ""
            )  # never load: hnswlib might take the process along
        except RegisterError as error:
            assert "the graph is damaged" in str(error), name
        else:
            pytest.fail(f"{name}: not noticed")


def test_a_crafted_graph_of_another_length_is_refused(saved, vectors):
    good, record = saved.read_bytes(), json.loads(graph_file.side_of(saved).read_text())
    for content in (good[:50], good[:5000], good[:-4], good + bytes(4), good + b"x"):
        saved.write_bytes(content)
        changed = record | {"sha256": graph_file.sha256_of(saved), "bytes": len(content)}
        graph_file.side_of(saved).write_text(graph_file.sealed(changed))
        with pytest.raises(RegisterError, match="the graph is damaged"):
            graph_file.check(saved, ArrayVectors(vectors), of=lambda count: "")


def test_a_failed_save_leaves_the_old_graph(saved, vectors, monkeypatch):
    before = {path.name: path.read_bytes() for path in saved.parent.iterdir()}

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RegisterError, match="No space left") as error:
        HnswIndex.build(vectors[:10]).save(saved)
    assert "room" in error.value.hint
    assert {path.name: path.read_bytes() for path in saved.parent.iterdir()} == before


def test_a_folder_that_is_not_there_is_said_so(tmp_path, graph):
    with pytest.raises(RegisterError, match="cannot write the graph"):
        graph.save(tmp_path / "nowhere" / "graph")


def test_a_short_write_of_hnswlib_is_found(tmp_path, graph, monkeypatch):
    class Short:
        """An index whose writes are lost, as on a full disk."""

        def save_index(self, path: str) -> None:
            Path(path).write_bytes(b"short")

        def index_file_size(self) -> int:
            return 1000

    side = graph_file.Side(2000, "", np.eye(32), None, graph.settings)
    with pytest.raises(RegisterError, match="the disk may be full"):
        graph_file.write(tmp_path / "graph", Short(), side)
    assert not list(tmp_path.iterdir())
