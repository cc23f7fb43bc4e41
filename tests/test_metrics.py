"""Each formula a second time, by plain loops."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge_retrieval import metrics
from edge_retrieval.errors import EvaluationError
from edge_retrieval.metrics import RetrievalScores, by_design, leave_one_out

LEVELS = ("class", "subclass", "design")
SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 30))
DEPTHS = SHAPES.flatmap(lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 3)))
CUTS = st.integers(1, 35)


# ------------------------------------------------------------------ the slow second version
# One ranking is a list of depths, best first.


def slow_hit_rate(depth: Sequence[int], level: int, k: int) -> float:
    return float(any(d >= level for d in depth[:k]))


def slow_recall(depth: Sequence[int], level: int, k: int) -> float:
    return sum(d >= level for d in depth[:k]) / sum(d >= level for d in depth)


def slow_reciprocal_rank(depth: Sequence[int], level: int, k: int | None = None) -> float:
    for rank, d in enumerate(depth, start=1):
        if d >= level:
            return 1 / rank if k is None or rank <= k else 0.0
    raise AssertionError


def slow_average_precision(depth: Sequence[int], level: int) -> float:
    precisions = []
    for rank, d in enumerate(depth, start=1):
        if d >= level:
            precisions.append(sum(e >= level for e in depth[:rank]) / rank)
    return sum(precisions) / len(precisions)


def slow_average_precision_at(depth: Sequence[int], level: int, k: int, denominator: str) -> float:
    total = 0.0
    for rank in range(1, min(k, len(depth)) + 1):
        if depth[rank - 1] >= level:
            total += sum(e >= level for e in depth[:rank]) / rank
    count = sum(d >= level for d in depth)
    return total / (count if denominator == "relevant" else min(count, k))


def slow_ndcg(depth: Sequence[int], k: int) -> float:
    def dcg(ranked: Sequence[int]) -> float:
        return sum((2**d - 1) / math.log2(1 + r) for r, d in enumerate(ranked[:k], start=1))

    return dcg(depth) / dcg(sorted(depth, reverse=True))


def slow_h_ap(depth: Sequence[int], weights: Sequence[float]) -> float:
    def rel(d: int) -> float:
        return sum(weights[p - 1] / sum(e >= p for e in depth) for p in range(1, d + 1))

    total = 0.0
    for i, d in enumerate(depth):
        if d > 0:
            h_rank = rel(d) + sum(min(rel(d), rel(above)) for above in depth[:i])
            total += h_rank / (i + 1)
    return total / sum(rel(d) for d in depth)


def slow_asi(depth: Sequence[int]) -> float:
    ideal = sorted(depth, reverse=True)
    count = sum(d > 0 for d in depth)
    total = 0.0
    for d in range(1, count + 1):
        here, best = list(depth[:d]), ideal[:d]
        shared = sum(min(here.count(level), best.count(level)) for level in (1, 2, 3))
        total += shared / d
    return total / count


def agrees(
    found: metrics.Values,
    depth: metrics.Depth,
    slow: Callable[[list[int]], float],
    level: int = 1,
) -> None:
    assert found.shape == (len(depth),) and found.dtype == np.float64
    for value, row in zip(found, depth.tolist(), strict=True):
        if any(d >= level for d in row):
            assert value == pytest.approx(slow(row), abs=1e-9)
        else:
            assert math.isnan(value)


# ------------------------------------------------------------------ formulas


@given(DEPTHS, CUTS, st.integers(1, 3))
def test_hits_recall_and_rank_of_the_first_agree_with_plain_loops(depth, k, level):
    relevant = depth >= level
    hits = metrics.hit_rate_at_k(relevant, k)
    agrees(hits, depth, lambda row: slow_hit_rate(row, level, k), level)
    recall = metrics.recall_at_k(relevant, k)
    agrees(recall, depth, lambda row: slow_recall(row, level, k), level)
    rank = metrics.reciprocal_rank(relevant)
    agrees(rank, depth, lambda row: slow_reciprocal_rank(row, level), level)
    rank = metrics.reciprocal_rank(relevant, k)
    agrees(rank, depth, lambda row: slow_reciprocal_rank(row, level, k), level)


@given(DEPTHS, CUTS, st.integers(1, 3))
def test_average_precision_agrees_with_plain_loops_under_each_denominator(depth, k, level):
    relevant = depth >= level
    full = metrics.average_precision(relevant)
    agrees(full, depth, lambda row: slow_average_precision(row, level), level)
    for name in ("relevant", "reachable"):
        cut = metrics.average_precision_at_k(relevant, k, denominator=name)
        agrees(cut, depth, lambda r, n=name: slow_average_precision_at(r, level, k, n), level)


@given(DEPTHS, CUTS)
def test_ndcg_agrees_with_plain_loops(depth, k):
    agrees(metrics.ndcg_at_k(depth, k), depth, lambda row: slow_ndcg(row, k))


def test_the_ideal_of_ndcg_is_that_of_the_whole_gallery_not_of_the_first_k():
    missed = np.array([[0, 1, 3]])  # the best item stands behind the cut
    assert metrics.ndcg_at_k(missed, 2)[0] == pytest.approx(
        (1 / math.log2(3)) / (7 / math.log2(2) + 1 / math.log2(3))
    )


@given(DEPTHS, st.tuples(*[st.floats(0.01, 5.0)] * 3))
def test_hierarchical_ap_agrees_with_its_definition_by_h_rank(depth, weights):
    found = metrics.h_ap(depth, weights, levels=3)
    agrees(found, depth, lambda row: slow_h_ap(row, weights))


@given(DEPTHS, st.tuples(*[st.floats(0.01, 5.0)] * 3))
def test_hierarchical_ap_is_the_weighted_mean_of_the_levels_ap(depth, weights):
    depth[:, 0] = 3  # every level has something relevant
    share = np.array(weights) / sum(weights)
    mean = sum(w * metrics.average_precision(depth >= p) for p, w in enumerate(share, start=1))
    np.testing.assert_allclose(metrics.h_ap(depth, weights, levels=3), mean, atol=1e-12)


@given(SHAPES.flatmap(lambda shape: arrays(np.bool_, shape)))
def test_of_one_level_hierarchical_ap_is_ap(relevant):
    np.testing.assert_allclose(
        metrics.h_ap(relevant.astype(int), levels=1), metrics.average_precision(relevant)
    )


@given(DEPTHS)
def test_set_intersection_agrees_with_plain_loops(depth):
    agrees(metrics.asi(depth, levels=3), depth, slow_asi)


@given(DEPTHS, CUTS)
def test_a_perfect_ranking_scores_one_and_nothing_scores_more(depth, k):
    perfect = -np.sort(-depth.astype(int), axis=1)
    for measure in (
        lambda d: metrics.ndcg_at_k(d, k),
        lambda d: metrics.h_ap(d, levels=3),
        lambda d: metrics.asi(d, levels=3),
        lambda d: metrics.average_precision(d > 0),
        lambda d: metrics.average_precision_at_k(d > 0, k, denominator="reachable"),
    ):
        best, value = measure(perfect), measure(depth)
        some = ~np.isnan(best)
        np.testing.assert_allclose(best[some], 1.0, atol=1e-12)
        assert (value[some] <= 1.0 + 1e-12).all() and (value[some] >= 0.0).all()


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1), CUTS)
def test_overlap_is_the_share_of_exact_neighbours_found(width, exact_width, seed, k):
    rng = np.random.default_rng(seed)
    found = np.array([rng.permutation(20)[:width] for _ in range(3)])
    exact = np.array([rng.permutation(20)[:exact_width] for _ in range(3)])
    slow = [len(set(f[:k]) & set(e[:k])) / len(e[:k]) for f, e in zip(found, exact, strict=True)]
    np.testing.assert_allclose(metrics.overlap_at_k(found, exact, k), slow)


def test_without_a_gallery_no_measure_has_a_value():
    nothing = np.zeros((2, 0), bool)
    for value in (
        metrics.hit_rate_at_k(nothing, 1),
        metrics.recall_at_k(nothing, 1),
        metrics.reciprocal_rank(nothing),
        metrics.average_precision(nothing),
        metrics.ndcg_at_k(nothing.astype(int), 1),
        metrics.h_ap(nothing.astype(int), levels=2),
        metrics.asi(nothing.astype(int), levels=2),
        metrics.overlap_at_k(nothing.astype(np.int64), nothing.astype(np.int64), 1),
    ):
        assert value.shape == (2,) and np.isnan(value).all()


# ------------------------------------------------------------------ whole evaluations


def made(seed: int, count: int = 40) -> tuple[metrics.Embeddings, metrics.Codes]:
    """Return embeddings with repeats, so with exact ties, and nested codes, some alone."""
    rng = np.random.default_rng(seed)
    parents = rng.integers(0, 4, 7)  # class of each subclass
    subclasses = rng.integers(0, 7, 16)  # subclass of each design
    design = rng.integers(0, 16, count)
    subclass = subclasses[design]
    codes = np.stack([parents[subclass], subclass, design], axis=1).astype(np.int32)
    # Small integers over a power of two: similarities are exact in float32, whatever sums them.
    embeddings = rng.integers(-2, 3, (count, 4)).astype(np.float32) / 8
    return embeddings, codes


def shared(a: Sequence[int], b: Sequence[int]) -> int:
    return max((p for p in (1, 2, 3) if a[p - 1] == b[p - 1] >= 0), default=0)


def rank_figures(embeddings: metrics.Embeddings, codes: metrics.Codes, query: int) -> list[int]:
    others = [i for i in range(len(codes)) if i != query]
    others.sort(key=lambda i: (-float(embeddings[i] @ embeddings[query]), i))
    return [shared(codes[query], codes[i]) for i in others]


def rank_designs(embeddings: metrics.Embeddings, codes: metrics.Codes, query: int) -> list[int]:
    best: dict[int, tuple[float, int]] = {}
    for i in range(len(codes)):
        if i != query:
            similarity = float(embeddings[i] @ embeddings[query])
            design = int(codes[i, -1])
            if design not in best or similarity > best[design][0]:
                best[design] = (similarity, shared(codes[query], codes[i]))
    ranked = sorted(best, key=lambda design: (-best[design][0], design))
    return [best[design][1] for design in ranked]


def check_all(scores: list[RetrievalScores], rankings: list[list[int]]) -> None:
    """Compare every figure of every row with the plain loops over the rankings."""
    by_key = {(row.level, row.relevance): row for row in scores}
    assert [*by_key] == [
        ("class", "inclusive"), ("class", "exclusive"), ("subclass", "inclusive"),
        ("subclass", "exclusive"), ("design", "inclusive"), ("all", "inclusive"),
    ]  # fmt: skip
    slow: dict[str, Callable[[list[int], int], float]] = {
        "hit_rate@1": lambda d, p: slow_hit_rate(d, p, 1),
        "hit_rate@5": lambda d, p: slow_hit_rate(d, p, 5),
        "hit_rate@10": lambda d, p: slow_hit_rate(d, p, 10),
        "recall@10": lambda d, p: slow_recall(d, p, 10),
        "MRR": slow_reciprocal_rank,
        "mAP": slow_average_precision,
    }
    graded: dict[str, Callable[[list[int], int], float]] = {
        "nDCG@10": lambda d, _: slow_ndcg(d, 10),
        "H-AP": lambda d, _: slow_h_ap(d, (1, 1, 1)),
        "ASI": lambda d, _: slow_asi(d),
    }
    for (name, relevance), row in by_key.items():
        level = 1 if name == "all" else LEVELS.index(name) + 1
        kept = rankings
        if relevance == "exclusive":
            kept = [[d for d in ranking if d <= level] for ranking in rankings]
        kept = [ranking for ranking in kept if any(d >= level for d in ranking)]
        assert (row.queries, row.skipped) == (len(kept), len(rankings) - len(kept))
        formulas = graded if name == "all" else slow
        assert [*row.values] == ([*formulas] if kept else [])
        for key, value in row.values.items():
            expected = np.mean([formulas[key](ranking, level) for ranking in kept])
            assert value == pytest.approx(expected, abs=1e-9), (name, relevance, key)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(1, 50))
def test_leaving_one_figure_out_agrees_with_plain_loops(seed, count, chunk):
    embeddings, codes = made(seed, count)
    scores = leave_one_out(embeddings, codes, LEVELS, chunk=chunk)
    check_all(scores, [rank_figures(embeddings, codes, query) for query in range(count)])
    assert {row.gallery for row in scores} == {count - 1}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(1, 50))
def test_ranking_designs_agrees_with_plain_loops(seed, count, chunk):
    embeddings, codes = made(seed, count)
    scores = by_design(embeddings, codes, LEVELS, chunk=chunk)
    check_all(scores, [rank_designs(embeddings, codes, query) for query in range(count)])
    assert {row.gallery for row in scores} == {len(set(codes[:, -1].tolist()))}


def test_taking_deeper_matches_out_lowers_what_they_inflate():
    """Two designs of one class, two figures each, and one stranger between them."""
    codes = np.array([[0, 0, 0], [0, 0, 0], [0, 1, 1], [1, 2, 2]], np.int32)
    angles = np.array([0.0, 0.1, 0.9, 0.5])
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    rows = {(r.level, r.relevance): r for r in leave_one_out(embeddings, codes, LEVELS)}
    assert rows["class", "inclusive"].values["hit_rate@1"] == pytest.approx(2 / 3)
    assert rows["class", "exclusive"].values["hit_rate@1"] == 0.0
    assert rows["class", "exclusive"].skipped == 1
    assert rows["subclass", "exclusive"].queries == 0
    assert rows["subclass", "exclusive"].values == {}


def test_a_figure_alone_in_its_design_is_skipped_and_counted():
    embeddings, _ = made(0, 5)
    codes = np.array([[0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3]], np.int32)
    for evaluate in (leave_one_out, by_design):
        design = next(r for r in evaluate(embeddings, codes, LEVELS) if r.level == "design")
        assert (design.queries, design.skipped) == (2, 3)


def test_an_unknown_label_agrees_with_no_other():
    embeddings, codes = made(1, 30)
    codes[::3, :2] = -1
    scores = leave_one_out(embeddings, codes, LEVELS)
    check_all(scores, [rank_figures(embeddings, codes, query) for query in range(30)])


def test_any_number_of_levels_and_of_cuts_is_measured():
    embeddings, codes = made(2)
    one = leave_one_out(embeddings, codes[:, -1:], ("design",), ks=(3,))
    assert [(r.level, r.relevance) for r in one] == [("design", "inclusive"), ("all", "inclusive")]
    assert [*one[0].values] == ["hit_rate@3", "recall@3", "MRR", "mAP"]
    assert one[1].values["H-AP"] == pytest.approx(one[0].values["mAP"])
    three = leave_one_out(embeddings, codes, LEVELS)
    assert next(r for r in three if r.level == "design").values["mAP"] == one[0].values["mAP"]


def test_ranking_orders_every_float_and_breaks_ties_by_column():
    rng = np.random.default_rng(0)
    similarity = rng.choice(
        np.array([-1, -0.5, -1e-38, -0.0, 0.0, 1e-45, 0.5, 1, -np.inf], np.float32), (20, 50)
    )
    expected = np.argsort(-similarity.astype(np.float64), axis=1, kind="stable")
    np.testing.assert_array_equal(metrics.best_first(similarity), expected)


def test_one_figure_cannot_be_evaluated():
    embeddings, codes = made(0, 1)
    for evaluate in (leave_one_out, by_design):
        with pytest.raises(EvaluationError, match="1 figures cannot search") as error:
            evaluate(embeddings, codes, LEVELS)
        assert "two figures" in error.value.hint


def test_our_own_mistakes_are_value_errors():
    embeddings, codes = made(0, 4)
    with pytest.raises(ValueError, match="not finite"):
        leave_one_out(np.full_like(embeddings, np.nan), codes, LEVELS)
    with pytest.raises(ValueError, match="codes"):
        leave_one_out(embeddings, codes[:, :2], LEVELS)
    with pytest.raises(ValueError, match="ks"):
        leave_one_out(embeddings, codes, LEVELS, ks=())
    with pytest.raises(ValueError, match="without a design"):
        by_design(embeddings, codes - 20, LEVELS)
    with pytest.raises(ValueError, match="weights"):
        metrics.h_ap(np.zeros((1, 1), int), (1.0,), levels=2)
