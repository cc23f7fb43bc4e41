"""The first pass: whatever the vectors, it answers what comparing all of them answers."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_retrieval.arrays import Embeddings
from edge_retrieval.errors import RegisterError
from edge_retrieval.index import ArrayVectors, FlatIndex, building, nearest
from edge_retrieval.index.building import build_pass, encode
from edge_retrieval.index.first_pass import PassIndex
from edge_retrieval.index.pass_file import FirstPass, open_pass
from tests.test_index import clustered, same, slow_search, tied, unit

Ranked = list[tuple[np.ndarray, np.ndarray]]


def spread(count: int, dim: int, seed: int, fall: float = 0.5) -> Embeddings:
    """Return rows whose later coordinates, in some turned system, are ever smaller."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    return unit(rng.standard_normal((count, dim)) * fall ** np.arange(dim) @ turn)


def near_copies(count: int, dim: int, seed: int) -> Embeddings:
    """Return copies of a few rows that differ less than a byte can tell, or not at all."""
    rng = np.random.default_rng(seed)
    rows = np.repeat(spread(-(-count // 20), dim, seed), 20, axis=0)[:count]
    return unit(rows + 10.0 ** rng.integers(-9, -3, (count, 1)) * rng.standard_normal(rows.shape))


def uneven(count: int, dim: int, seed: int) -> Embeddings:
    """Return rows whose coordinates span thirty powers of ten, with some far from all others."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((count, dim)) * 10.0 ** rng.integers(-30, 1, (1, dim))
    rows[:: max(1, count // 3)] = np.eye(dim)[
        rng.integers(0, dim, len(rows[:: max(1, count // 3)]))
    ]
    return unit(rows)


KINDS = {
    "spread": spread,
    "near copies": near_copies,
    "uneven": uneven,
    "tied": lambda count, dim, seed: tied(count, seed, dim),
    "clustered": lambda count, dim, seed: clustered(count, dim, 7, seed),
}


def in_memory(vectors: Embeddings, covered: int, all_vectors: Embeddings) -> PassIndex:
    encoded = encode(ArrayVectors(vectors[:covered]), covered)
    assert encoded is not None
    first = FirstPass(Path(), encoded[0], "", 0.0, encoded[1], np.empty(0, np.uint32))
    return PassIndex(first, all_vectors)


def same_ranks(a: Ranked, b: Ranked) -> None:
    for one, other in zip(a, b, strict=True):
        same(one, other)


@settings(max_examples=120, deadline=None)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    dim=st.sampled_from([2, 8, 40]),
    count=st.integers(1, 400),
    later=st.integers(0, 30),
    k=st.integers(0, 60),
    width=st.none() | st.sampled_from([1, 2, 8]),
    share=st.none() | st.floats(0, 1),
    dead=st.floats(0, 0.5),
    grouped=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_pass_answers_what_comparing_all_answers(
    kind, dim, count, later, k, width, share, dead, grouped, seed
):
    rng = np.random.default_rng(seed)
    vectors = KINDS[kind](count + later, dim, seed)
    queries = np.concatenate(
        [vectors[rng.integers(0, len(vectors), 2)], unit(rng.random((1, dim)))]
    )
    with pytest.MonkeyPatch.context() as patch:
        if width is not None:
            patch.setattr(building, "_width", lambda *_: min(width, dim))
        index = in_memory(vectors, count, vectors)
    rows = None if share is None else np.flatnonzero(rng.random(len(vectors)) < share)
    without = np.flatnonzero(rng.random(len(vectors)) < dead)
    groups = rng.integers(0, 1 + len(vectors) // 3, len(vectors)) if grouped else None
    asked = {"rows": rows, "without": without, "groups": groups}
    same_ranks(index.rank(queries, k, **asked), FlatIndex(vectors).rank(queries, k, **asked))


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    dim=st.sampled_from([3, 16]),
    count=st.integers(1, 300),
    width=st.integers(1, 16),
    seed=st.integers(0, 2**32 - 1),
)
def test_no_score_is_above_its_bound(kind, dim, count, width, seed):
    vectors = KINDS[kind](count, dim, seed)
    queries = np.concatenate(
        [vectors[:3], unit(np.random.default_rng(seed).random((2, dim)) - 0.5)]
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building, "_width", lambda *_: min(width, dim))
        bounds = in_memory(vectors, count, vectors).bounds(queries, None)
    exact = queries.astype(float) @ vectors.astype(float).T
    assert (bounds >= exact.astype(np.float32)).all()
    assert (FlatIndex(vectors).bounds(queries, None) >= exact.astype(np.float32)).all()


def slow_groups(
    vectors: Embeddings, query: np.ndarray, k: int, groups: np.ndarray, rows: list[int]
) -> list[int]:
    """Return the best row of each of the k best groups, by plain loops."""
    order, _ = slow_search(vectors, query, len(vectors), rows)
    seen: set[int] = set()
    best = []
    for row in order:
        if int(groups[row]) not in seen:
            seen.add(int(groups[row]))
            best.append(row)
    return best[:k]


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 60),
    many=st.integers(1, 20),
    k=st.integers(1, 25),
    seed=st.integers(0, 2**32 - 1),
)
def test_groups_are_ranked_by_their_best_row(count, many, k, seed):
    rng = np.random.default_rng(seed)
    vectors = tied(count, seed)
    groups = rng.integers(0, many, count)
    without = np.flatnonzero(rng.random(count) < 0.2)
    left = np.setdiff1d(np.arange(count), without).tolist()
    for query in tied(3, seed + 1):
        [(rows, _)] = FlatIndex(vectors).rank(query[None], k, without=without, groups=groups)
        assert rows.tolist() == slow_groups(vectors, query, k, groups, left)


def test_few_rows_are_scored():
    """What makes the pass worth its file."""
    vectors = spread(20_000, 64, 0, 0.9)
    taken = []

    class Watched(ArrayVectors):
        def take(self, rows: np.ndarray) -> Embeddings:
            taken.append(len(rows))
            return super().take(rows)

    index = in_memory(vectors, len(vectors), vectors)
    index = PassIndex(index.first, Watched(vectors))
    for query in vectors[::2000]:
        index.rank(query[None], 10)
    assert index.first.coding.width < 64
    assert sum(taken) / 10 < 100


def test_a_query_unlike_all_else_has_all_vectors_read_at_once():
    """Rough bounds rule nothing out then; to score all one by one took seconds."""
    rng = np.random.default_rng(5)
    vectors = spread(20_000, 64, 0, 0.9)
    taken = []

    class Watched(ArrayVectors):
        def take(self, rows: np.ndarray) -> Embeddings:
            taken.append(len(rows))
            return super().take(rows)

    index = PassIndex(in_memory(vectors, len(vectors), vectors).first, Watched(vectors))
    without = np.arange(0, 20_000, 3)
    groups = np.arange(20_000) // 5
    for query in unit(rng.standard_normal((5, 64))):
        for limits in ({}, {"without": without}, {"groups": groups}, {"rows": without}):
            taken.clear()
            same_ranks(
                index.rank(query[None], 10, **limits),
                FlatIndex(vectors).rank(query[None], 10, **limits),
            )
            assert sum(many for many in taken if many < len(without)) < 3_000


def test_the_guess_at_the_best_changes_nothing(monkeypatch):
    upper = np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    best = np.argsort(-upper)[:20]
    for sample in (10, 100, 1000, 10_000):
        monkeypatch.setattr(nearest, "SAMPLE", sample)
        rows, scores = nearest.nearest(upper, 20, lambda rows: upper[rows])
        assert rows.tolist() == best.tolist()
        assert scores.tolist() == upper[best].tolist()


# ------------------------------------------------------------------ its file


@pytest.fixture
def vectors() -> Embeddings:
    return spread(40_000, 24, 3, 0.8)


@pytest.fixture
def path(tmp_path: Path, vectors: Embeddings) -> Path:
    assert build_pass(tmp_path / "pass", vectors, of="these")
    return tmp_path / "pass"


def test_a_pass_that_was_written_is_read(path, vectors):
    first = open_pass(path)
    first.check()
    assert (first.vectors, len(first)) == ("these", 40_000)
    assert 10 <= first.compared < 1000
    assert path.stat().st_size < vectors.nbytes / 3
    expected = FlatIndex(vectors).search(vectors[::4000], 10)
    same(PassIndex(first, vectors).search(vectors[::4000], 10), expected)
    assert [file.name for file in path.parent.iterdir()] == ["pass"]


def test_a_flipped_byte_of_the_pass_never_changes_an_answer(path, vectors):
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    expected = FlatIndex(vectors).search(vectors[:2], 10)
    for place in [0, 9, 13, 17, *rng.integers(0, len(content), 20).tolist(), len(content) - 1]:
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            first = open_pass(path)
            first.check()
        except RegisterError as error:
            assert "makes it anew" in error.hint
        else:
            pytest.fail(f"byte {place} was not missed")
        try:
            same(PassIndex(open_pass(path), vectors).search(vectors[:2], 10), expected)
        except RegisterError:
            continue


@pytest.mark.parametrize("share", [0.0, 1e-5, 0.001, 0.5, 0.99999])
def test_a_shortened_pass_is_refused(path, share):
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(RegisterError):
        open_pass(path)


def test_a_pass_that_is_too_long_is_refused(path):
    with path.open("ab") as file:
        file.write(b"x")
    with pytest.raises(RegisterError, match="length"):
        open_pass(path)


def test_only_blocks_that_are_needed_are_checked(path, vectors):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    rows = np.arange(100, 5000)
    index = PassIndex(open_pass(path), vectors)
    expected = FlatIndex(vectors).search(vectors[:3], 10, rows=rows)
    same(index.search(vectors[:3], 10, rows=rows), expected)
    assert not index._damaged
    index.search(vectors[:1], 10)
    assert index._damaged


def test_a_failed_write_leaves_the_old_pass(path, vectors, monkeypatch):
    before = path.read_bytes()

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RegisterError, match="No space left"):
        build_pass(path, vectors[:100], of="others")
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["pass"]


@pytest.mark.parametrize("number", [np.nan, np.inf, 3e38])
def test_no_pass_is_made_of_vectors_that_are_damaged(tmp_path, number):
    damaged = spread(50_000, 8, 0)
    damaged[40_001, 3] = number
    assert not build_pass(tmp_path / "pass", damaged, of="these")
    assert not list(tmp_path.iterdir())


def test_no_pass_is_made_of_nothing(tmp_path):
    assert not build_pass(tmp_path / "pass", np.empty((0, 8), np.float32), of="")


def test_a_pass_of_other_vectors_is_refused(path, vectors):
    for other in (vectors[:-1], vectors[:, :8]):
        with pytest.raises(RegisterError, match="of other vectors"):
            PassIndex(open_pass(path), other)


def test_the_pinned_pass_opens_for_ever():
    pinned = Path(__file__).parent / "pinned" / "pass-1"
    vectors = np.load(pinned / "vectors.npy")
    first = open_pass(pinned / "pass.u8")
    first.check()
    assert (first.vectors, len(first)) == ("these sixty", 60)
    expected = FlatIndex(vectors).search(vectors[::7], 10)
    same(PassIndex(first, vectors).search(vectors[::7], 10), expected)
    assert (first.bytes_of.max(axis=0) == 255)[:-1].all()
