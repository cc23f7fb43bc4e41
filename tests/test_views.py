"""Several views at once: the same designs and scores as plain loops give, whatever finds them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_retrieval.arrays import Embeddings
from edge_retrieval.index import ArrayVectors, FlatIndex
from edge_retrieval.index.views import Found, nearest_groups
from edge_retrieval.query import same_views

DIM = 24


def unit(rows: NDArray[np.float64]) -> Embeddings:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def made(rows: int, designs: int, seed: int) -> tuple[Embeddings, NDArray[np.int32]]:
    """Return vectors that lie around a centre a design, and the design of each, not in order."""
    rng = np.random.default_rng(seed)
    of = rng.integers(0, designs, rows).astype(np.int32)
    of.sort()
    moved = rng.permutation(rows)[: rows // 10]  # added later: not beside the others
    of[moved] = rng.integers(0, designs, len(moved))
    centres = rng.normal(size=(designs, DIM))
    return unit(centres[of] + 0.8 * rng.normal(size=(rows, DIM))), of


def slowly(
    vectors: Embeddings,
    of: NDArray[np.int32],
    views: Embeddings,
    counted: list[bool],
    candidates: list[int],
) -> list[tuple[float, int]]:
    """Return (score, design) of every design, best first, by plain loops."""
    best: dict[int, list[float]] = {}
    first: dict[int, int] = {}
    for row in candidates:
        own = best.setdefault(int(of[row]), [-9.0] * len(views))
        first.setdefault(int(of[row]), row)
        for place, view in enumerate(views):
            products = [float(a) * float(b) for a, b in zip(view, vectors[row], strict=True)]
            cosine = float(np.float32(sum(products)))
            own[place] = max(own[place], cosine)
    told = []
    for design, own in best.items():
        asked = [cosine for cosine, counts in zip(own, counted, strict=True) if counts]
        told.append(((max(asked) + math.fsum(asked) / len(asked)) / 2, design))
    return sorted(told, key=lambda one: (-one[0], first[one[1]]))


def told(found: list[Found]) -> list[tuple[float, int]]:
    return [(one.score, one.group) for one in found]


def agree(one: list[tuple[float, int]], other: list[tuple[float, int]]) -> bool:
    return [d for _, d in one] == [d for _, d in other] and np.allclose(
        [s for s, _ in one], [s for s, _ in other], atol=1e-6
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("k", [1, 7, 500])
def test_the_best_designs_for_several_views_are_those_of_plain_loops(seed: int, k: int) -> None:
    rng = np.random.default_rng([seed, 1])
    vectors, of = made(400, 60, seed)
    views = unit(rng.normal(size=(3, DIM)) + 2 * vectors[rng.integers(0, 400, 3)])
    rows = np.flatnonzero(rng.random(400) < 0.6)
    without = rng.permutation(rows)[:30]
    without.sort()
    counted = np.array([True, seed % 2 == 0, True])
    for some, gone in ((None, None), (None, without), (rows, None), (rows, without)):
        candidates = set(range(400) if some is None else some.tolist())
        candidates -= set(() if gone is None else gone.tolist())
        found = nearest_groups(
            FlatIndex(vectors, chunk=64), views, k, groups=of, vectors=ArrayVectors(vectors),
            counted=counted, rows=some, without=gone,
        )  # fmt: skip
        expected = slowly(vectors, of, views, counted.tolist(), sorted(candidates))
        assert agree(told(found), expected[:k])


def test_one_view_scores_its_best_cosine() -> None:
    vectors, of = made(300, 40, 5)
    view = unit(np.random.default_rng(6).normal(size=(1, DIM)))
    found = nearest_groups(FlatIndex(vectors), view, 9, groups=of, vectors=ArrayVectors(vectors))
    assert agree(told(found), slowly(vectors, of, view, [True], list(range(300)))[:9])
    assert all(one.score == pytest.approx(float(one.cosines.max())) for one in found)


def test_the_rows_told_are_those_that_each_view_is_most_like() -> None:
    vectors, of = made(300, 40, 7)
    views = unit(np.random.default_rng(8).normal(size=(4, DIM)))
    for one in nearest_groups(
        FlatIndex(vectors), views, 5, groups=of, vectors=ArrayVectors(vectors)
    ):
        members = np.flatnonzero(of == one.group)
        for place, view in enumerate(views):
            own = vectors[members].astype(float) @ view.astype(float)
            assert one.rows[place] == members[own.argmax()]
            assert one.cosines[place] == pytest.approx(own.max(), abs=1e-6)


class Rough:
    """An index whose bounds tell next to nothing, and which knows better ones."""

    def __init__(self, flat: FlatIndex, lift: float) -> None:
        self.flat, self.lift, self.vectors = flat, lift, flat.vectors
        self.asked = 0

    def bounds(self, queries: Embeddings, rows: NDArray[np.int64] | None) -> NDArray[np.float32]:
        self.asked += 1
        rng = np.random.default_rng(self.asked)
        upper = self.flat.bounds(queries, rows)
        return upper + rng.uniform(0, self.lift, upper.shape).astype(np.float32)


@pytest.mark.parametrize("lift", [0.05, 0.5, 3.0])
def test_rough_bounds_give_the_same_answer(lift: float) -> None:
    vectors, of = made(6_000, 2_500, 9)
    views = unit(np.random.default_rng(10).normal(size=(3, DIM)))
    flat = FlatIndex(vectors)
    exact = nearest_groups(flat, views, 10, groups=of, vectors=ArrayVectors(vectors))
    rough = nearest_groups(
        Rough(flat, lift), views, 10, groups=of, vectors=ArrayVectors(vectors)  # type: ignore[arg-type]
    )  # fmt: skip
    assert told(exact) == told(rough)


def test_equal_designs_come_in_the_order_of_their_rows() -> None:
    vectors = unit(np.tile(np.random.default_rng(11).normal(size=(1, DIM)), (40, 1)))
    of = np.arange(40, dtype=np.int32)[::-1] // 2
    views = unit(np.random.default_rng(12).normal(size=(2, DIM)))
    found = nearest_groups(FlatIndex(vectors), views, 5, groups=of, vectors=ArrayVectors(vectors))
    assert [one.group for one in found] == [19, 18, 17, 16, 15]


def test_no_candidate_gives_no_answer() -> None:
    vectors, of = made(50, 9, 13)
    views = unit(np.random.default_rng(14).normal(size=(2, DIM)))
    none = np.empty(0, np.int64)
    for rows, without in ((none, none), (np.arange(50), np.arange(50)), (None, np.arange(50))):
        assert not nearest_groups(
            FlatIndex(vectors), views, 5, groups=of, vectors=ArrayVectors(vectors), rows=rows,
            without=without,
        )  # fmt: skip


def test_a_view_drawn_twice_is_told_with_the_first_that_it_repeats() -> None:
    rng = np.random.default_rng(15)
    one, other = unit(rng.normal(size=(2, DIM)))
    near = unit((one + 0.01 * rng.normal(size=DIM))[None])[0]
    assert same_views(np.stack([one, other, near, one])) == [None, None, 0, 0]
    assert same_views(np.empty((0, DIM), np.float32)) == []
